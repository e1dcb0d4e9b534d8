"""Critiques: every step of every revision."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from synth.rows import Row
from synth.store.views import CHAT, LeftOut, View, chat


class Critiques(View):
    """One line a revision: what was there, what the critique said by which principle, what came of it."""

    columns = pa.schema(
        [
            ("id", pa.string()),
            ("prompt", CHAT),
            ("answer", pa.string()),
            ("principle", pa.string()),
            ("critique", pa.string()),
            ("revision", pa.string()),
            ("changed", pa.bool_()),
        ]
    )

    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield the revisions of `row`."""
        for number, answer in enumerate(row.answers):
            if answer.parent is None:
                continue
            before = row.answers[answer.parent].text
            yield {
                "id": f"{row.id}:{number:04}",
                "prompt": chat(*row.prompt),
                "answer": before,
                "principle": answer.principle,
                "critique": answer.critique,
                "revision": answer.text,
                "changed": answer.text != before,
            }
