"""What a judge goes by besides quality: places, lengths, lists, and whose answer it is.

Zheng et al. 2023 (MT-Bench, arXiv:2306.05685), section 3.3, for positions and self-enhancement; AlpacaEval's
`analyze_evaluators` for lengths, with its 30 characters, and for lists. What is a list is our own rule: two
or more lines that begin as items do. A tie prefers neither answer and is left out.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from synth.audit.compared import Compared, Label, Pair
from synth.audit.shares import Share

LEAST_DIFFERENCE = 30
_ITEM = re.compile(r"^[ \t]*(?:[-*+•]|\(?\d{1,3}[.)]|\(?[a-z][.)])[ \t]+\S", re.MULTILINE)

Chosen = tuple[Pair, Label | None]


@dataclass(frozen=True, slots=True)
class Positions:
    """Whether a judge names the same place whatever stands there.

    Attributes:
        same: of all pairs asked about in both orders, those with every verdict read and all naming one place.
        first: of these, those that name the first.
    """

    same: Share
    first: Share


def positions(pairs: Iterable[Compared]) -> Positions:
    """Same-position rate over all pairs of both orders; a pair with an unreadable verdict stays in them."""
    named = [
        {verdict.position for verdict in pair.verdicts}
        for pair in pairs
        if {verdict.swapped for verdict in pair.verdicts} == {False, True}
    ]
    same = [places for places in named if places in ({"first"}, {"second"})]
    return Positions(Share(len(same), len(named)), Share.of(places == {"first"} for places in same))


def judged(pairs: Iterable[Compared]) -> list[Chosen]:
    """What every verdict chose of which texts."""
    return [(pair.texts, choice) for pair in pairs for choice in pair.choices]


def by_people(pairs: Iterable[Compared]) -> list[Chosen]:
    """What people chose of which texts."""
    return [(pair.texts, pair.people) for pair in pairs]


def prefers_longer(chosen: Iterable[Chosen]) -> Share:
    """How often the longer answer was chosen, of choices between lengths more than 30 characters apart."""
    return _prefers(
        (choice, len(first) > len(second))
        for (first, second), choice in chosen
        if abs(len(first) - len(second)) > LEAST_DIFFERENCE
    )


def prefers_lists(chosen: Iterable[Chosen]) -> Share:
    """How often the answer with a list was chosen, of choices where only one has a list."""
    return _prefers(
        (choice, has_list(first)) for (first, second), choice in chosen if has_list(first) != has_list(second)
    )


def has_list(text: str) -> bool:
    """Whether two or more lines of `text` begin as the items of a list do."""
    return len(_ITEM.findall(text)) > 1


def prefers_own(pairs: Sequence[Compared]) -> tuple[Share, Share]:
    """How often a judge chose the answer that it wrote, and how often people did, where one of the two was.

    The first without the second says nothing: a good model's answers may be the better ones.
    """
    own = [
        (pair, pair.writers[0] == pair.judge)
        for pair in pairs
        if pair.judge and (pair.writers[0] == pair.judge) != (pair.writers[1] == pair.judge)
    ]
    by_judge = _prefers((choice, first) for pair, first in own for choice in pair.choices)
    return by_judge, _prefers((pair.people, first) for pair, first in own)


def _prefers(chosen: Iterable[tuple[Label | None, bool]]) -> Share:
    """Of the choices that are one of two answers: the share of those that fit, ``(choice, first fits)``."""
    return Share.of((choice == "first") == first for choice, first in chosen if choice in ("first", "second"))
