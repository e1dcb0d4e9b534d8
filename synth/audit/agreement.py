"""How far two judges of the same things agree, people or models: shares and kappas.

Cohen 1960; Fleiss 1971; Zheng et al. 2023 (MT-Bench, arXiv:2306.05685), section 4.1, for the set-ups with and
without ties; Zhou et al. 2023 (LIMA, arXiv:2305.11206), section 4, for tie-discounted agreement; AlpacaEval's
`analyze_evaluators` for leave-one-out. Differs from the last: where several labels are the mode it draws one
at random; here it is the mean over the draws, so that it needs no chance.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from math import nan

from synth.audit.compared import Label
from synth.audit.shares import Share

Labels = Sequence[Label | None]


def agreement(one: Labels, other: Labels) -> Share:
    """Of all things, those of which both say the same (set-up 1, ties in). None never agrees."""
    return Share.of(a == b and a is not None for a, b in zip(one, other, strict=True))


def without_ties(judge: Labels, people: Labels) -> Share:
    """Of those of which neither says tie, those of which both say the same (set-up 2).

    An unreadable verdict is no tie: it stays, and does not agree.
    """
    kept = [(a, b) for a, b in zip(judge, people, strict=True) if "tie" not in (a, b)]
    return Share.of(a == b and a is not None for a, b in kept)


def tie_discounted(one: Labels, other: Labels) -> Share:
    """A point where both say the same, half a point where exactly one says tie, none elsewhere."""
    return Share.of(_discounted(a, b) for a, b in zip(one, other, strict=True))


def _discounted(a: Label | None, b: Label | None) -> float:
    if a is None or b is None:
        return 0.0
    return 1.0 if a == b else 0.5 if "tie" in (a, b) else 0.0


def cohen_kappa(one: Sequence[str | None], other: Sequence[str | None]) -> float:
    """Agreement of two judges beyond what their marginal counts give by chance; None is a label as any other.

    nan if both give one and the same label throughout: chance alone would agree as well.
    """
    n = len(one)
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / n if n else nan
    counts, others = Counter(one), Counter(other)
    return _beyond(observed, sum(counts[label] * others[label] for label in counts) / n**2 if n else nan)


def fleiss_kappa(votes: Sequence[Sequence[str | None]]) -> float:
    """Agreement of several judges beyond chance: `votes` has the same number of two or more for everything.

    nan if it does not, or if there is one label only.
    """
    sizes = {len(those) for those in votes}
    if len(sizes) != 1 or min(sizes) < 2:
        return nan
    k, n = sizes.pop(), len(votes)
    observed = sum((sum(c * c for c in Counter(those).values()) - k) / (k * (k - 1)) for those in votes) / n
    overall = Counter(label for those in votes for label in those)
    return _beyond(observed, sum((count / (n * k)) ** 2 for count in overall.values()))


def _beyond(observed: float, by_chance: float) -> float:
    return (observed - by_chance) / (1 - by_chance) if by_chance != 1 else nan


def majority(votes: Sequence[Label]) -> Label:
    """What most of `votes` say; a tie if no label has more than every other."""
    modes = _modes(votes)
    return modes[0] if len(modes) == 1 else "tie"


def _modes(votes: Sequence[Label]) -> list[Label]:
    counts = Counter(votes)
    most = max(counts.values())
    return [label for label, count in counts.items() if count == most]


def leave_one_out(votes: Sequence[Sequence[Label]]) -> Share:
    """How often one person says what most of the others say: the ceiling of an automatic judge.

    The mean over the people, a point a thing at most. Where k labels are the mode of the others, one of them
    agrees by 1/k. Things of one vote are left out.
    """
    return Share.of(
        Share.of(
            _in_mode(vote, [*those[:index], *those[index + 1 :]]) for index, vote in enumerate(those)
        ).value
        for those in votes
        if len(those) > 1
    )


def with_people(judge: Labels, votes: Sequence[Sequence[Label]]) -> Share:
    """How often a judge says what most people say, leaving out every person in turn.

    So it is measured against as many people as `leave_one_out` measures a person against.
    """
    return Share.of(
        Share.of(_in_mode(said, rest) for rest in combinations(those, len(those) - 1)).value
        for said, those in zip(judge, votes, strict=True)
        if len(those) > 1
    )


def _in_mode(label: Label | None, others: Sequence[Label]) -> float:
    modes = _modes(others)
    return (label in modes) / len(modes)
