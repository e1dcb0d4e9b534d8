"""Revision pairs: the last revision chosen over the answer that it began as, without a judge.

The preference data of the open recipe of Constitutional AI (alignment-handbook at 925acdf). It says that
revising helped, for every row, which nobody has looked at: for pairs that were judged, let `judge_pairs`
compare ``pairs: revision`` and take the `preference` view.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from synth.rows import Row
from synth.store.views import CHAT, LeftOut, View, chat, reply


class RevisionPairs(View):
    """Explicit prompt, chosen (the last revision), rejected (the fresh answer before it); a line a row."""

    columns = pa.schema(
        [
            ("id", pa.string()),
            ("prompt", CHAT),
            ("chosen", CHAT),
            ("rejected", CHAT),
            ("principle", pa.string()),
        ]
    )

    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield the pair of `row`."""
        revised = [number for number, answer in enumerate(row.answers) if answer.parent is not None]
        if not revised:
            yield LeftOut("no_revision")
            return
        last = row.answers[revised[-1]]
        first = row.answers[row.origin(revised[-1])]
        if reason := last.unfit or first.unfit:
            yield LeftOut(reason)
        elif last.text == first.text:
            yield LeftOut("unchanged")
        else:
            yield {
                "id": row.id,
                "prompt": chat(*row.prompt),
                "chosen": reply(last.text),
                "rejected": reply(first.text),
                "principle": last.principle,
            }
