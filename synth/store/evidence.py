"""How far a judge can be trusted: what it said of the same pair in the two orders.

Of the rows that are in the version, and no others: a filter behind the judge changes the shares, and a row
that came through two branches counts twice.
"""

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from synth.rows import Judgment, Row


@dataclass(slots=True)
class Evidence:
    """Counts for one judging step.

    Attributes:
        kind: as in `Judgment.kind`.
        judgments: raw judgements that were asked for; `unreadable` of them say nothing, `censored` hold a
            bounded probability. Samples of one order are averaged before orders are compared.
        not_asked: judgements that were not, since the answers were equal or empty.
        both_orders: pairs with two readable judgements, one an order.
        agreed: of these, pairs in which both orders name the same answer.
        same_position: of these, pairs in which both orders name the same place; `first` the first place.
        ties: pairs that are exactly even in one of the orders; neither agreed nor same_position.
    """

    kind: str
    judgments: int = 0
    not_asked: int = 0
    unreadable: int = 0
    censored: int = 0
    both_orders: int = 0
    agreed: int = 0
    same_position: int = 0
    first: int = 0
    ties: int = 0

    def add(self, judgments: list[Judgment]) -> None:
        """Count the judgements of one pair, one ranking, or one answer looked at alone."""
        asked = [judgment for judgment in judgments if judgment.calls]
        self.judgments += len(asked)
        self.not_asked += len(judgments) - len(asked)
        self.unreadable += sum(judgment.unreadable is not None for judgment in asked)
        self.censored += sum(judgment.censored for judgment in judgments)
        if self.kind == "pair":
            straight, swapped = (_mean(judgments, is_swapped) for is_swapped in (False, True))
            if straight is not None and swapped is not None:
                self._swapped(straight, swapped)

    def _swapped(self, straight: float, swapped: float) -> None:
        """Count what the two orders say of the pair's first answer; it was shown first in `straight`."""
        self.both_orders += 1
        if 0.5 in (straight, swapped):
            self.ties += 1
        elif (straight > 0.5) == (swapped > 0.5):
            self.agreed += 1
        else:
            self.same_position += 1
            self.first += straight > 0.5


def _mean(judgments: list[Judgment], is_swapped: bool) -> float | None:
    """The mean of the readable judgements of one order; None if there is none."""
    values = [
        judgment.value
        for judgment in judgments
        if judgment.value is not None and (judgment.order != judgment.candidates) == is_swapped
    ]
    return fmean(values) if values else None


@dataclass(slots=True)
class Judges:
    """The evidence of every judging step, counted row by row."""

    by_step: dict[str, Evidence] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Count the judgements of `row`."""
        pairs = defaultdict[tuple[str, tuple[int, ...]], list[Judgment]](list)
        for judgment in row.judgments:
            pairs[judgment.step, judgment.candidates].append(judgment)
        for (step, _), judgments in pairs.items():
            self.by_step.setdefault(step, Evidence(judgments[0].kind)).add(judgments)

    def as_json(self) -> dict[str, Any]:
        """The counts by step."""
        return {step: asdict(evidence) for step, evidence in sorted(self.by_step.items())}
