"""Labels: what the raw judgements of a pair of answers come to, under a rule.

Derived here and nowhere else, so that another rule is another view and not another bill. Lee et al. 2023,
"RLAIF" (arXiv:2309.00267), section 2.1.1: the mean of both orders, a soft label. Zheng et al. 2023, MT-Bench
(arXiv:2306.05685), section 3.4: an answer wins only if both orders name it. Bai et al. 2022, Constitutional
AI (arXiv:2212.08073), section 4.1: a label that comes of reasoning is clamped; where orders are averaged,
which that paper does not do, after averaging.

Repeated samples of one order are averaged first, so that each order weighs the same. An order without a
readable judgement leaves the pair without a label.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Literal

from synth.rows import Judgment, Row

Rule = Literal["agree", "mean"]
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Label:
    """A soft label.

    Attributes:
        p_first: probability in [0, 1] that the pair's first answer is better.
        orders: how many orders, or rankings, it comes from.
        agreed: whether all of them name the same answer; None if there is but one.
        even: each of them is undecided. Orders that name different answers are no tie: they say nothing.
    """

    p_first: float
    orders: int
    agreed: bool | None
    even: bool = False


def judged_pairs(row: Row, step: str) -> dict[Pair, list[Judgment]]:
    """The judgements of `step` by pair of answers; a ranking speaks of every two that it ranks."""
    pairs: dict[Pair, list[Judgment]] = defaultdict(list)
    for judgment in row.judgments:
        if judgment.step == step:
            for pair in _pairs(judgment):
                pairs[pair].append(judgment)
    return dict(sorted(pairs.items()))


def _pairs(judgment: Judgment) -> Iterator[Pair]:
    if judgment.kind == "pair":
        first, second = judgment.candidates
        yield first, second
    elif judgment.kind == "rank":
        yield from combinations(judgment.candidates, 2)


def label(pair: Pair, judgments: Sequence[Judgment]) -> Label | str:
    """What one judge's `judgments` of `pair` come to, or why they come to nothing."""
    by_order: dict[object, list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        by_order[judgment.order if judgment.kind == "pair" else judgment.sample].append(judgment)
    means = []
    for asked in by_order.values():
        values = [value for judgment in asked if (value := _p_first(pair, judgment)) is not None]
        if not values:
            return asked[0].unreadable or "unreadable"
        means.append(fmean(values))
    low, high = judgments[0].bounds
    agreed = all(mean > 0.5 for mean in means) or all(mean < 0.5 for mean in means)
    p_first = min(max(fmean(means), low), high)
    even = all(mean == 0.5 for mean in means)
    return Label(p_first, len(means), agreed if len(means) > 1 else None, even)


def _p_first(pair: Pair, judgment: Judgment) -> float | None:
    """What one judgement says of `pair`: a probability; of a ranking 1, 0, or one half for equal places."""
    if judgment.kind == "pair" or not judgment.places:
        return judgment.value
    first, second = (judgment.places[judgment.candidates.index(number)] for number in pair)
    return 0.5 if first == second else float(first < second)


def panel(labels: Mapping[str, Label | str], rule: Rule) -> Label | str:
    """What several judges' labels of one pair come to, by name; a judge without one abstains.

    With ``agree`` so does one whose orders name different answers. The mean over those that are left.
    """
    speaking = [one for one in labels.values() if isinstance(one, Label)]
    if not speaking:
        return next(reason for reason in labels.values() if isinstance(reason, str))
    sure = [one for one in speaking if rule == "mean" or one.even or one.agreed is not False]
    if not sure:
        return "orders_disagree"
    if len(sure) == 1:
        return sure[0]
    sides = {one.p_first > 0.5 for one in sure}
    agreed = len(sides) == 1 and all(one.agreed is not False for one in sure)
    orders = sum(one.orders for one in sure)
    return Label(fmean(one.p_first for one in sure), orders, agreed, all(one.even for one in sure))


def votes(scores: Mapping[int, float]) -> dict[Pair, Label]:
    """What answers' scores say of every two of them: how a judge that scores them alone votes in a panel."""
    said = {}
    for first, second in combinations(sorted(scores), 2):
        even = scores[first] == scores[second]
        p_first = 0.5 if even else float(scores[first] > scores[second])
        said[first, second] = Label(p_first, 1, None, even)
    return said
