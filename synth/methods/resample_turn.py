"""Resample turn: other answers at a random turn of a dialogue, to be compared with the one that it has.

Ouyang et al. 2022, "InstructGPT" (arXiv:2203.02155), ranks answers to one prompt; OpenAI's post "Introducing
ChatGPT" (2022) takes a message of the model out of a dialogue at random and samples alternatives to it. All
answers reply to the same turns, so that a judge compares like with like.
"""

import random
from collections.abc import AsyncGenerator
from dataclasses import replace
from itertools import pairwise

from pydantic import Field

from synth.errors import Filtered
from synth.methods.converse import turn_at
from synth.rows import APART, Answer, Message, Row
from synth.step import Bench, Each, ModelName, answered


class ResampleTurn(Each):
    """Cut a dialogue at one of the assistant's turns, and sample `count` others there.

    Needs: a row with an assistant's turn after one of the user's, in its prompt or as its last answer. Gives:
    a new row, whose prompt is the turns before and whose answers are the turn that was there and the others;
    judgements of the old row are left behind. Costs: `count` calls.
    """

    model: ModelName
    count: int = Field(1, ge=1)
    system: str | None = Field(None, description="what the assistant was told in the dialogue, if it was")
    temperature: float = Field(1.0, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(512, ge=1)

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield the row that is cut; it stays in its parent's split."""
        cut = self.cut(row, bench)
        yield cut.answered(*await self._others(cut, bench))

    def cut(self, row: Row, bench: Bench) -> Row:
        """`row` up to one of the assistant's turns that reply to the user, with that turn as its answer.

        Raises:
            Filtered: there is no such turn.
        """
        roles = [*(turn.role for turn in row.prompt), *(("assistant",) if row.answers else ())]
        places = [place for place, two in enumerate(pairwise(roles), start=1) if two == ("user", "assistant")]
        if not places:
            raise Filtered("no_assistant_turn")
        place = random.Random(bench.chance(row.id)).choice(places)
        if place == len(row.prompt):
            answer, calls = replace(row.answers[-1], parent=None), row.calls
        else:
            answer, calls = turn_at(row, place)
        cut = row.child(
            bench.step, 0, prompt=row.prompt[:place], answers=(answer,), judgments=(), calls=calls
        )
        return cut.noted(bench.step, turn=places.index(place) + 1, of=len(places))

    async def _others(self, row: Row, bench: Bench) -> list[Answer]:
        """Samples apart from those that made the dialogue."""
        system = (Message("system", self.system),) if self.system else ()
        first = APART + row.occurrence * self.count
        replies = await bench.ask_all(
            [
                bench.model(self.model).ask(
                    [*system, *row.prompt],
                    sample=first + number,
                    temperature=self.temperature,
                    top_p=self.top_p,
                    max_tokens=self.max_tokens,
                )
                for number in range(self.count)
            ]
        )
        return [answered(reply, bench, self.model) for reply in replies]

    def calls(self, rows: float) -> float:
        """`count` a row."""
        return rows * self.count
