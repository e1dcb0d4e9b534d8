"""Title or description: which of the two a question of a forum is asked by.

Zhou et al. 2023, "LIMA" (arXiv:2305.11206), section 2.1: a question of Stack Exchange has a title and a
description, and one of them, at random, becomes the prompt.
"""

import random
from collections.abc import AsyncGenerator
from dataclasses import replace

from pydantic import Field

from synth.errors import Filtered
from synth.rows import Answer, Message, Row
from synth.step import Bench, Each


class TitleOrDescription(Each):
    """Ask by the title, which is the row's prompt, or by the description, which is one of its columns.

    Needs: a row from a source that read the title as the prompt. Gives: the same row; half of those that have
    a description ask by it, and with `answer` each has that column's answer. Costs: nothing.
    """

    description: str = Field("body", description="the column that holds the description")
    answer: str | None = Field(
        None, description="the column that holds the answer, where the source read none"
    )
    share: float = Field(0.5, ge=0, le=1, description="how many of the rows ask by their description")

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its prompt, and in its facts which of the two that is."""
        title, description = row.prompt[-1].content, row.facts.get(self.description)
        has_description = isinstance(description, str) and bool(description.strip())
        if has_description and random.Random(bench.chance(row.id)).random() < self.share:
            row = replace(row, prompt=(*row.prompt[:-1], Message("user", str(description).strip())))
            row = row.noted(bench.step, asked_by="description", title=title)
        else:
            row = row.noted(bench.step, asked_by="title", title=title)
        yield row.answered(Answer(self._answer(row), bench.step)) if self.answer else row

    def _answer(self, row: Row) -> str:
        text = row.facts.get(self.answer or "")
        if not isinstance(text, str) or not text.strip():
            raise Filtered("no_answer")
        return text.strip()
