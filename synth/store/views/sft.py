"""SFT: prompts and the completions to learn from."""

from collections.abc import Iterator
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from synth.rows import Row
from synth.store.views import CHAT, LeftOut, View, chat, reply, unfit


class Sft(View):
    """Prompt and completion, a line for every answer that is shown.

    With ``answers: revisions`` every revision is one, as Constitutional AI trains on all of them.
    """

    columns = pa.schema([("id", pa.string()), ("prompt", CHAT), ("completion", CHAT)])

    answers: Literal["auto", "revisions", "last", "all"] = Field(
        "auto", description="auto: the revisions where a row has some, else all answers"
    )

    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield the chosen answers of `row`; those that `unfit` names are left out."""
        numbers = self._numbers(row)
        if not numbers:
            yield LeftOut("no_revision" if row.answers else "no_answer")
        for number in numbers:
            answer = row.answers[number]
            if reason := unfit(answer):
                yield LeftOut(reason)
            else:
                yield {
                    "id": f"{row.id}:{number:04}",
                    "prompt": chat(*row.prompt),
                    "completion": reply(answer.text),
                }

    def _numbers(self, row: Row) -> list[int]:
        every = list(range(len(row.answers)))
        revised = [number for number in every if row.answers[number].parent is not None]
        if self.answers == "last":
            return every[-1:]
        if self.answers == "revisions" or (self.answers == "auto" and revised):
            return revised
        return every
