"""Scores: what each answer of a row is worth, from the raw judgements of answers that were looked at alone.

Derived here and nowhere else, for the views that choose answers and the methods that sample by score.
Cui et al. 2023, "UltraFeedback" (arXiv:2310.01377): the score of an answer is the mean of its aspects, and an
aspect that does not apply is left out of it. A judgement that cannot be read is no score: an answer
without a readable one has none.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from synth.rows import Judgment, Row

ALONE = ("likelihood", "score", "check")


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores by one judging step. More is better.

    Attributes:
        judge: id of the step, "" if no step scored anything.
        of: the score of an answer by its index; only of those that have one.
        scale: the ends of the scale, None for likelihoods, which have no ends.
        unreadable: why an answer that was judged has no score, by its index.
    """

    judge: str
    of: Mapping[int, float]
    scale: tuple[float, float] | None
    unreadable: Mapping[int, str]

    @property
    def best(self) -> int | None:
        """The answer of the highest score, of equal ones the first; None if no answer has a score."""
        return max(sorted(self.of), key=self.of.__getitem__, default=None)

    @property
    def worst(self) -> int | None:
        """The answer of the lowest score, of equal ones the first; None if no answer has a score."""
        return min(sorted(self.of), key=self.of.__getitem__, default=None)

    def gap(self, better: int, worse: int) -> float:
        """By how much the score of answer `better` lies above that of `worse`."""
        return self.of[better] - self.of[worse]

    def margin(self, better: int, worse: int) -> float | None:
        """`gap` as a part of the whole scale, in (0, 1] if `better` is; None where the scale has no ends."""
        if self.scale is None:
            return None
        low, high = self.scale
        return self.gap(better, worse) / (high - low)


def scores(row: Row, judge: str | None = None, aspect: str | None = None) -> Scores:
    """The scores of the answers of `row`: the mean over the samples of each aspect, then over aspects.

    Args:
        judge: id of the judging step; the last one that looked at answers alone if left out.
        aspect: the one aspect to go by, "" being the answer as a whole. If left out, all named ones; and the
            answer as a whole only where the step named none, since it would count everything twice.
    """
    alone = [judgment for judgment in row.judgments if judgment.kind in ALONE]
    step = judge if judge is not None else alone[-1].step if alone else ""
    judged = _about([judgment for judgment in alone if judgment.step == step], aspect)
    values, scale = _values(_balanced(judged))
    reasons = {judgment.candidates[0]: judgment.unreadable or "unreadable" for judgment in judged}
    return Scores(
        judge=step,
        of={number: _mean_of_means(by_aspect) for number, by_aspect in values.items()},
        scale=scale,
        unreadable={number: reason for number, reason in reasons.items() if number not in values},
    )


def _about(judged: list[Judgment], aspect: str | None) -> list[Judgment]:
    """Those of `judged` that are of `aspect`."""
    if aspect is None and any(judgment.aspect for judgment in judged):
        return [judgment for judgment in judged if judgment.aspect]
    return [judgment for judgment in judged if judgment.aspect == (aspect or "")]


def _balanced(judged: list[Judgment]) -> list[Judgment]:
    """`judged` without answers that were scored beside another in both orders and are readable in one.

    What a judge adds for a place cancels over the two orders, and only there.
    """
    readable = {(one.candidates, one.order) for one in judged if one.value is not None}
    halved = {
        one.candidates
        for one in judged
        if len(one.order) == 2 and (one.candidates, one.order) not in readable
    }
    return [one for one in judged if one.candidates not in halved]


_ByAspect = dict[str, list[Fraction]]


def _values(judged: list[Judgment]) -> tuple[dict[int, _ByAspect], tuple[float, float] | None]:
    """Values by answer and aspect, and their scale. Aspects on different scales are brought to [0, 1]."""
    readable = [judgment for judgment in judged if judgment.value is not None]
    scales = {None if judgment.kind == "likelihood" else judgment.bounds for judgment in readable}
    values: dict[int, _ByAspect] = defaultdict(lambda: defaultdict(list))
    for judgment in readable:
        low, high = (0.0, 1.0) if len(scales) < 2 else judgment.bounds
        value = (Fraction(judgment.value or 0.0) - Fraction(low)) / (Fraction(high) - Fraction(low))
        values[judgment.candidates[0]][judgment.aspect].append(value)
    return values, scales.pop() if len(scales) == 1 else (0.0, 1.0)


def _mean_of_means(by_aspect: _ByAspect) -> float:
    """Exact until the end, so that equal ratings tie whatever the order in which they are summed."""
    return float(_mean([_mean(values) for values in by_aspect.values()]))


def _mean(values: Iterable[Fraction]) -> Fraction:
    every = list(values)
    return sum(every, Fraction()) / len(every)
