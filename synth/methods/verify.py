"""Verify: answers checked by code, against constraints or against a known answer. No model is asked.

Constraints are those of IFEval (Zhou et al. 2023, arXiv:2311.07911), section 2: 25 types, strict or loose.
Known answers are those of GSM8K (Cobbe et al. 2021, arXiv:2110.14168) and its like. A reward that code can
check is what reinforcement learning with verifiable rewards trains on (Lambert et al. 2024, "Tulu 3",
arXiv:2411.15124, section 6; GRPO in TRL).

Differs: Tulu 3 pays 10 for an answer that is right, here it is 1 and the training scales it. A judgement is
kept for every constraint, where a reward would be one number: their mean, or whether all passed, is for the
view or the training to say.
"""

import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from typing import TypeVar

from pydantic import Field

from synth.constraints import Constraint
from synth.constraints.columns import Columns, Unfit
from synth.constraints.modes import Mode, follows
from synth.errors import Filtered, RowError
from synth.final_answer import compared, final_answer, quantity
from synth.rows import Answer, Judgment, Row
from synth.step import Bench, Each

Found = TypeVar("Found")

_NUMBER = re.compile(
    r"(?:(?<!\w)[-\u2212])?[$€£]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,60})(?:[./][0-9]{1,60})?%?"
)


class Verify(Columns, Each):
    """Check every answer of a row.

    Needs: a row with an answer, and facts that say what is checked. Gives: the same row with a raw
    judgement of kind ``check`` for every answer and constraint, its aspect the constraint's type (the
    second of a type ends in ``#2``); for known answers one an answer, its aspect ``maths`` or ``answer``
    and the final answer in ``said``; unreadable if the answer has none, or code cannot tell. Costs: nothing.

    A row whose facts are missing or wrong fails; `checkable` finds it before an answer is bought.
    """

    mode: Mode = Field("strict", description="constraints: as the answer stands, or IFEval's eight variants")

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its judgements."""
        if not row.answers:
            raise Filtered("no_answer")
        if self.what == "constraints":
            yield row.judged(*self._followed(row, bench.step))
        else:
            yield row.judged(*self._right(row, bench.step))

    def _followed(self, row: Row, step: str) -> Iterator[Judgment]:
        constraints = _fit(self.constraints(row.facts))
        for number, answer in enumerate(row.answers):
            for aspect, constraint in zip(_aspects(constraints), constraints, strict=True):
                passed = follows(constraint, answer.text, self.mode)
                yield Judgment(step, "check", (number,), (number,), float(passed), aspect=aspect)

    def _right(self, row: Row, step: str) -> Iterator[Judgment]:
        gold = _fit(self.known_answer(row.facts))
        for number, answer in enumerate(row.answers):
            said = self._said(answer, gold)
            right = None if said is None else compared(said, gold)
            reason = "no_final_answer" if said is None else "unclear_final_answer" if right is None else None
            yield Judgment(
                step,
                "check",
                (number,),
                (number,),
                None if right is None else float(right),
                reason,
                aspect=self.what,
                said=said or "",
            )

    def _said(self, answer: Answer, gold: str) -> str | None:
        """The final answer of `answer`. Of one that was cut off the last number is any number."""
        said = final_answer(answer.text)
        if said is None and self.what == "maths" and quantity(gold) and answer.finish != "length":
            numbers = _NUMBER.findall(answer.text)
            return numbers[-1] if numbers else None
        return said


def _fit(read: Found | Unfit) -> Found:
    if isinstance(read, Unfit):
        raise RowError(read.message, "mend the row, or drop it before it costs a call: - checkable")
    return read


def _aspects(constraints: list[Constraint]) -> Iterator[str]:
    """A name for every constraint of a row: its type, numbered from the second of a type on."""
    seen: Counter[str] = Counter()
    for constraint in constraints:
        seen[constraint.id] += 1
        count = seen[constraint.id]
        yield constraint.id if count == 1 else f"{constraint.id}#{count}"
