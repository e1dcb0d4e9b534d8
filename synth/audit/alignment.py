"""How far a judge can be trusted: its verdicts against people's, and its own habits, of any set of pairs.

Accuracy is LLMBar's (Zeng et al. 2023, arXiv:2310.07641), over all verdicts of both orders. Differs in that
people and judges may say tie: a pair of which people say so has no right answer and is left out; a judge that
says so where people do not gets half a point. An unreadable verdict gets none, and stays in the count.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
