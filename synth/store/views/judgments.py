"""Judgments: every raw judgement as it was given, with the order in which the answers stood."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from synth.rows import Row
from synth.store.views import CHAT, LeftOut, View, chat

_NUMBERS = pa.list_(pa.int64())


class Judgments(View):
    """One line a judgement; its columns are those of `synth.rows.Judgment`.

    ``answers`` are the texts of the judged answers in their own order, ``order`` their numbers as the judge
    saw them. So other labels can be derived from a version alone.
    """

    columns = pa.schema(
        [
            ("id", pa.string()),
            ("prompt", CHAT),
            ("answers", pa.list_(pa.string())),
            ("step", pa.string()),
            ("model", pa.string()),
            ("kind", pa.string()),
            ("aspect", pa.string()),
            ("candidates", _NUMBERS),
            ("order", _NUMBERS),
            ("value", pa.float64()),
            ("places", _NUMBERS),
            ("unreadable", pa.string()),
            ("censored", pa.bool_()),
            ("bounds", pa.list_(pa.float64())),
            ("principle", pa.string()),
            ("said", pa.string()),
            ("sample", pa.int64()),
            ("calls", pa.list_(pa.string())),
        ]
    )

    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield the judgements of `row`, in the order in which they were made."""
        for number, judgment in enumerate(row.judgments):
            about = {
                "id": f"{row.id}:{number:04}",
                "prompt": chat(*row.prompt),
                "answers": [row.answers[answer].text for answer in judgment.candidates],
            }
            yield about | {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(judgment).items()
            }
