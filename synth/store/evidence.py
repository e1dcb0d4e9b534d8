"""How far a judge can be trusted: what it said of the same pair in both orders, or of the same answers twice.

Of the rows that are in the version, and no others: a filter behind the judge changes the shares, and a row
that came through two branches counts twice.

Beside position, what else is known to sway judges is counted (Zheng et al. 2023, arXiv:2306.05685, section
3.3): how often the longer answer wins, and how often what the judge's own model wrote. These counts prove
nothing by themselves: the longer answer may be the better one.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from statistics import fmean
from typing import Any

from synth.labels import Label, label
from synth.rows import Judgment, JudgmentKind, Row


@dataclass(slots=True)
class Evidence:
    """Counts for one judging step.

    Attributes:
        kind: as in `Judgment.kind`.
        judgments: raw judgements that were made; `unreadable` of them say nothing, `reasons` says why, and
            `censored` hold a bounded probability. Samples of one order are averaged before orders are
            compared.
        not_asked: judgements that were not, since the answers were equal or empty.
        given: of the judgements, those that no call was made for: people's, out of a file, or those of code.
        passed, failed: ``check``: what code or a known fact decided.
        both_orders: pairs with two readable judgements, one an order.
        agreed: of these, pairs in which both orders name the same answer.
        same_position: of these, pairs in which both orders name the same place; `first` the first place.
        ties: pairs that are exactly even in one of the orders; neither agreed nor same_position.
        ranked_again: ``rank``: pairs of answers that several readable rankings speak of; `ranked_alike` those
            of which all of them say the same.
        unlike_lengths: pairs that came to a label and whose answers differ in words; `longer` those in which
            the longer one won.
        one_own: pairs that came to a label and of which the judge's model wrote exactly one; `own` those in
            which that one won. Models are told apart by their names in the pipeline.
    """

    kind: JudgmentKind
    judgments: int = 0
    not_asked: int = 0
    given: int = 0
    unreadable: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    censored: int = 0
    passed: int = 0
    failed: int = 0
    both_orders: int = 0
    agreed: int = 0
    same_position: int = 0
    first: int = 0
    ties: int = 0
    ranked_again: int = 0
    ranked_alike: int = 0
    unlike_lengths: int = 0
    longer: int = 0
    one_own: int = 0
    own: int = 0

    def add(self, row: Row, judgments: list[Judgment]) -> None:
        """Count the judgements of one pair, one ranking, or one answer looked at alone."""
        made = [judgment for judgment in judgments if self._was_made(judgment)]
        self.judgments += len(made)
        self.not_asked += len(judgments) - len(made)
        self.given += sum(not judgment.calls for judgment in made)
        reasons = Counter(judgment.unreadable for judgment in made if judgment.unreadable is not None)
        self.unreadable += reasons.total()
        self.reasons += reasons
        self.censored += sum(judgment.censored for judgment in judgments)
        if self.kind == "pair":
            self._pair(row, judgments)
        elif self.kind == "rank":
            self._ranked([judgment for judgment in judgments if judgment.places])
        elif self.kind == "check":
            self.passed += sum(judgment.value == 1.0 for judgment in made)
            self.failed += sum(judgment.value == 0.0 for judgment in made)

    def _was_made(self, judgment: Judgment) -> bool:
        """Whether anybody was asked, or code looked: a check that code cannot read was made all the same."""
        return bool(judgment.calls) or judgment.value is not None or self.kind == "check"

    def _pair(self, row: Row, judgments: list[Judgment]) -> None:
        straight, swapped = (_mean(judgments, is_swapped) for is_swapped in (False, True))
        if straight is not None and swapped is not None:
            self._swapped(straight, swapped)
        pair = (judgments[0].candidates[0], judgments[0].candidates[1])
        said = label(pair, judgments)
        if isinstance(said, Label) and said.p_first != 0.5 and said.agreed is not False:
            better, worse = pair if said.p_first > 0.5 else pair[::-1]
            self._labelled(row, better, worse, judgments[0].model)

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

    def _labelled(self, row: Row, better: int, worse: int, judge: str) -> None:
        """Count whether the better answer is the longer one, and whether the judge wrote it."""
        won, lost = row.answers[better], row.answers[worse]
        words = len(won.text.split()) - len(lost.text.split())
        self.unlike_lengths += words != 0
        self.longer += words > 0
        if judge and (won.model == judge) != (lost.model == judge):
            self.one_own += 1
            self.own += won.model == judge

    def _ranked(self, rankings: Sequence[Judgment]) -> None:
        """Count the pairs of answers of which several rankings of the same answers say the same."""
        if len(rankings) < 2:
            return
        for first, second in combinations(range(len(rankings[0].candidates)), 2):
            said = {_order(judgment.places[first], judgment.places[second]) for judgment in rankings}
            self.ranked_again += 1
            self.ranked_alike += len(said) == 1

    def as_json(self) -> dict[str, Any]:
        """The counts."""
        return asdict(self) | {"reasons": dict(sorted(self.reasons.items()))}


def _order(one: int, other: int) -> int:
    """-1 if place `one` is the better, 1 if the other, 0 if they are equal."""
    return (one > other) - (one < other)


def _mean(judgments: list[Judgment], is_swapped: bool) -> float | None:
    """The mean of the readable judgements of one order; None if there is none."""
    values = [
        judgment.value
        for judgment in judgments
        if judgment.value is not None and (judgment.order != judgment.candidates) == is_swapped
    ]
    return fmean(values) if values else None


def _together(row: Row) -> Iterator[list[Judgment]]:
    """The judgements of `row` that speak of the same answers in the same step, by the same principle."""
    groups = defaultdict[tuple[str, tuple[int, ...], str | None], list[Judgment]](list)
    for judgment in row.judgments:
        groups[judgment.step, judgment.candidates, judgment.principle].append(judgment)
    yield from groups.values()


@dataclass(slots=True)
class Judges:
    """The evidence of every judging step, counted row by row."""

    by_step: dict[str, Evidence] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Count the judgements of `row`."""
        for judgments in _together(row):
            first = judgments[0]
            self.by_step.setdefault(first.step, Evidence(first.kind)).add(row, judgments)

    def as_json(self) -> dict[str, Any]:
        """The counts by step."""
        return {step: evidence.as_json() for step, evidence in sorted(self.by_step.items())}


@dataclass(slots=True)
class ByPrinciple:
    """The evidence of every judging step, principle by principle."""

    steps: dict[str, dict[str, Evidence]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Count the judgements of `row` that were made by a principle."""
        for judgments in _together(row):
            first = judgments[0]
            if first.principle is not None:
                known = self.steps.setdefault(first.step, {})
                known.setdefault(first.principle, Evidence(first.kind)).add(row, judgments)

    def as_json(self) -> dict[str, Any]:
        """The counts by step and principle."""
        return {
            step: {name: evidence.as_json() for name, evidence in sorted(known.items())}
            for step, known in sorted(self.steps.items())
        }
