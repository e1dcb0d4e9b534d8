"""How far a judge can be trusted: its verdicts against people's, and its own habits, of any set of pairs.

Accuracy is LLMBar's (Zeng et al. 2023, arXiv:2310.07641), over all verdicts of both orders. Differs in that
people and judges may say tie: a pair of which people say so has no right answer and is left out; a judge that
says so where people do not gets half a point. An unreadable verdict gets none, and stays in the count.

Soft labels are counted by how sure they are: of those of about 0.9, nine of ten should be what people say.
The expected calibration error is that of Guo et al. 2017 (arXiv:1706.04599), section 2. Differs in that the
ten bins part [0.5, 1], since the surer of two answers never has less than one half.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from statistics import fmean
from typing import TYPE_CHECKING

from synth.audit import agreement, bias
from synth.audit.compared import Compared, Label
from synth.audit.shares import Share

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Alignment:
    """What a judge's verdicts come to.

    Attributes:
        pairs: how many there are; `judged_by_people`: those that people judged.
        accuracy: verdicts that choose as people do, each pair one point at most.
        ties_in, ties_out: MT-Bench's set-ups 1 and 2, of what the verdicts on a pair come to together; where
            they disagree, that is a tie.
        tie_discounted: LIMA's agreement of the same.
        unreadable: verdicts that could not be read; `reasons`: how many for which reason.
        positions: same-position rate, and how many of those name the first.
        longer, lists: how often the longer answer and the one with a list is chosen, by judge and people.
        own: how often the answer is chosen that the judge's own model wrote, by judge and people.
    """

    pairs: int
    judged_by_people: int
    accuracy: Share
    ties_in: Share
    ties_out: Share
    tie_discounted: Share
    unreadable: Share
    reasons: Mapping[str, int]
    positions: bias.Positions
    longer: tuple[Share, Share]
    lists: tuple[Share, Share]
    own: tuple[Share, Share]


def align(pairs: Sequence[Compared]) -> Alignment:
    """Measure a judge on `pairs`."""
    known = [pair for pair in pairs if pair.people is not None]
    decisions = [pair.decision for pair in known]
    people = [pair.people for pair in known]
    unread = [verdict for pair in pairs for verdict in pair.verdicts if verdict.position is None]
    by_judge, by_people = bias.judged(pairs), bias.by_people(known)
    return Alignment(
        pairs=len(pairs),
        judged_by_people=len(known),
        accuracy=Share.of(_accuracy(pair) for pair in known if pair.people != "tie" and pair.verdicts),
        ties_in=agreement.agreement(decisions, people),
        ties_out=agreement.without_ties(decisions, people),
        tie_discounted=agreement.tie_discounted(decisions, people),
        unreadable=Share(len(unread), sum(len(pair.verdicts) for pair in pairs)),
        reasons=Counter(verdict.unreadable or "unknown" for verdict in unread),
        positions=bias.positions(pairs),
        longer=(bias.prefers_longer(by_judge), bias.prefers_longer(by_people)),
        lists=(bias.prefers_lists(by_judge), bias.prefers_lists(by_people)),
        own=bias.prefers_own(pairs),
    )


def _accuracy(pair: Compared) -> float:
    return Share.of(_point(choice, pair.people) for choice in pair.choices).value


def _point(choice: Label | None, people: Label | None) -> float:
    return 0.5 if choice == "tie" else float(choice == people)


BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Soft labels that are about as sure as each other.

    Attributes:
        low, high: how sure they are, as a probability in [0.5, 1]; `high` belongs to the next bin, but for 1.
        mean: how sure they are on average; nan if there are none.
        right: how many choose as people do.
    """

    low: float
    high: float
    mean: float
    right: Share


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether soft labels are as often right as they are sure.

    Attributes:
        bins: ten, from one half to 1.
        error: the mean distance of the share that is right from how sure the labels are, a bin by its labels;
            nan if there are none.
        undecided: labels left out, since the label is one half, or people say tie.
    """

    bins: tuple[Bin, ...]
    error: float
    undecided: int


def calibration(labels: Iterable[tuple[float, Label | None]]) -> Calibration:
    """How often soft labels are right: of ``(p_first, what people say)``, None if nobody was asked."""
    known = [(p_first, people) for p_first, people in labels if people is not None]
    decided = [(p_first, people) for p_first, people in known if p_first != 0.5 and people != "tie"]
    by_bin: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for p_first, people in decided:
        sure = max(p_first, 1 - p_first)
        by_bin[_bin(sure)].append((sure, (p_first > 0.5) == (people == "first")))
    bins = tuple(_counted(number, labelled) for number, labelled in enumerate(by_bin))
    distances = [one.right.whole * abs(one.right.value - one.mean) for one in bins if one.right.whole]
    error = sum(distances) / len(decided) if decided else nan
    return Calibration(bins, error, len(known) - len(decided))


def _bin(sure: float) -> int:
    """Which of the bins of [0.5, 1] holds `sure`; 1 - 0.4 is in that of 0.6."""
    return min(int(round((2 * sure - 1) * BINS, 9)), BINS - 1)


def _counted(number: int, labelled: Sequence[tuple[float, bool]]) -> Bin:
    low, high = ((1 + edge / BINS) / 2 for edge in (number, number + 1))
    mean = fmean(sure for sure, _ in labelled) if labelled else nan
    return Bin(low, high, mean, Share.of(right for _, right in labelled))


def table(judges: Mapping[str, Alignment]) -> "pd.DataFrame":
    """A line a judge; shares in [0, 1], nan where there is nothing to take one of."""
    import pandas as pd

    return pd.DataFrame.from_dict({name: _line(found) for name, found in judges.items()}, orient="index")


def _line(found: Alignment) -> dict[str, float]:
    accuracy = found.accuracy.interval
    return {
        "pairs": found.pairs,
        "judged by people": found.judged_by_people,
        "accuracy": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "ties in": found.ties_in.value,
        "ties out": found.ties_out.value,
        "tie-discounted": found.tie_discounted.value,
        "unreadable": found.unreadable.part,
        "same position": found.positions.same.value,
        "of these first": found.positions.first.value,
        "longer": found.longer[0].value,
        "longer, people": found.longer[1].value,
        "list": found.lists[0].value,
        "list, people": found.lists[1].value,
        "own": found.own[0].value,
        "own, people": found.own[1].value,
    }
