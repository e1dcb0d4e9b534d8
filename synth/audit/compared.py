"""What a judge said of a pair of answers, beside what people say of it: the plain records that audits read.

`of_row` makes them of a row's raw judgements; the readers of recorded judges make their own.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from synth.rows import Judgment, Row

Label = Literal["first", "second", "tie"]
Pair = tuple[str, str]


def turned(label: Label | None) -> Label | None:
    """`label` of the same pair the other way round. Twice is the identity."""
    if label == "first":
        return "second"
    return "first" if label == "second" else label


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of a pair, once.

    Attributes:
        position: which place it chose of those that it was shown; None if nothing could be read.
        swapped: whether it was shown the pair's second answer first.
        unreadable: why nothing could be read, as far as that is known.
    """

    position: Label | None
    swapped: bool = False
    unreadable: str | None = None

    @property
    def choice(self) -> Label | None:
        """Which answer it chose, in the pair's own order."""
        return turned(self.position) if self.swapped else self.position


@dataclass(frozen=True, slots=True)
class Compared:
    """A pair that a judge compared, as often as it was asked.

    Attributes:
        verdicts: what it said; unreadable ones among them.
        people: what people say of the pair; None if nobody was asked.
        texts: the two answers; `writers`: the names of the models that wrote them.
        judge: the name of the judging model.
    """

    verdicts: tuple[Verdict, ...]
    people: Label | None = None
    texts: Pair = ("", "")
    writers: Pair = ("", "")
    judge: str = ""

    @property
    def choices(self) -> tuple[Label | None, ...]:
        """What every verdict chose, in the pair's own order."""
        return tuple(verdict.choice for verdict in self.verdicts)

    @property
    def decision(self) -> Label | None:
        """MT-Bench's rule: an answer wins if all verdicts choose it, else it is a tie.

        Zheng et al. 2023 (arXiv:2306.05685), section 3.4. None if a verdict could not be read.
        """
        said = set(self.choices)
        if not said or None in said:
            return None
        return said.pop() if len(said) == 1 else "tie"


def of_row(row: Row, step: str, people: Label | None = None) -> Iterator[Compared]:
    """The pairs of `row` that `step` asked a judge about, with what `people` say of them.

    Repeated samples of one order are averaged first, as they are for labels; so there is a verdict an order.
    """
    pairs = defaultdict[tuple[tuple[int, ...], str], list[Judgment]](list)
    for judgment in row.judgments:
        if judgment.step == step and judgment.kind == "pair" and judgment.calls:
            pairs[judgment.candidates, judgment.model].append(judgment)
    for (candidates, judge), judged in pairs.items():
        first, second = (row.answers[number] for number in candidates)
        yield Compared(
            verdicts=tuple(_verdicts(judged)),
            people=people,
            texts=(first.text, second.text),
            writers=(first.model, second.model),
            judge=judge,
        )


def _verdicts(judged: list[Judgment]) -> Iterator[Verdict]:
    for order in dict.fromkeys(judgment.order for judgment in judged):
        asked = [judgment for judgment in judged if judgment.order == order]
        values = [judgment.value for judgment in asked if judgment.value is not None]
        swapped = order != asked[0].candidates
        choice = _choice(fmean(values)) if values else None
        why = None if values else asked[0].unreadable
        yield Verdict(turned(choice) if swapped else choice, swapped, why)


def _choice(p_first: float) -> Label:
    return "tie" if p_first == 0.5 else "first" if p_first > 0.5 else "second"
