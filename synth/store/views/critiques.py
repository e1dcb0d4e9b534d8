"""Critiques: every step of every revision."""

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from synth.rows import Answer, Row
from synth.store.views import CHAT, LeftOut, View, chat

# How revisions tell of their making: the heading of the form that they were asked for in, or of the request.
_ECHO = re.compile(
    r"^\W*(?:revis(?:ion|ed (?:reply|response|answer|version))|critique|critiquerequest|revisionrequest"
    r"|new reply|here(?: i|')s (?:the|a|my) (?:new|revised|rewritten))\b",
    re.IGNORECASE,
)


class Critiques(View):
    """One line a revision: what was there, what the critique said by which principle, what came of it.

    ``flag`` marks a revision that is ``unchanged``, ``empty`` or an ``echo`` of the request; null for others.
    It is a mark and no verdict: a revision may rightly leave a good answer as it is.
    """

    columns = pa.schema(
        [
            ("id", pa.string()),
            ("prompt", CHAT),
            ("answer", pa.string()),
            ("principle", pa.string()),
            ("critique", pa.string()),
            ("revision", pa.string()),
            ("changed", pa.bool_()),
            ("flag", pa.string()),
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
                "flag": flag(answer, before),
            }


def flag(revision: Answer, before: str) -> str | None:
    """What is odd about a revision of the text `before`, None if nothing is."""
    if not revision.text:
        return "empty"
    if revision.text == before:
        return "unchanged"
    return "echo" if _ECHO.search(revision.text) else None
