"""A line-up: several answers of a row shown to a judge side by side, each under a letter, in some order.

Equal texts stand in it once, and what is said of the one is said of all. What a judge says by letter is
brought back to the answers here, so that no judge can forget the order in which it was shown them.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from string import ascii_uppercase
from typing import TypeVar

from synth.rows import Row

Said = TypeVar("Said")
# Indices of answers of equal text.
Group = tuple[int, ...]

MOST = len(ascii_uppercase)


@dataclass(frozen=True, slots=True)
class Lineup:
    """Answers in the order in which a judge sees them.

    Attributes:
        texts: what is shown, in the order shown.
        shown: the indices of the answers with that text, for each text.
    """

    texts: tuple[str, ...]
    shown: tuple[Group, ...]

    @property
    def letters(self) -> str:
        """What the texts are called, in the order shown."""
        return ascii_uppercase[: len(self.texts)]

    @property
    def order(self) -> tuple[int, ...]:
        """The answers as the judge sees them, those of equal text side by side."""
        return tuple(number for same in self.shown for number in same)

    @property
    def candidates(self) -> tuple[int, ...]:
        """The answers in their own order."""
        return tuple(sorted(self.order))

    def by_answer(self, said: Mapping[str, Said]) -> Mapping[int, Said]:
        """What was said of each letter, as said of each answer, in their own order."""
        of = zip(self.letters, self.shown, strict=True)
        back = {number: said[letter] for letter, same in of for number in same}
        return dict(sorted(back.items()))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Each letter with its text, for a prompt."""
        return zip(self.letters, self.texts, strict=True)


def same_texts(row: Row) -> list[Group]:
    """The indices of the answers of `row`, those of equal text together, by their first."""
    groups: dict[str, list[int]] = {}
    for number, answer in enumerate(row.answers):
        groups.setdefault(answer.text, []).append(number)
    return [tuple(group) for group in groups.values()]


def lineups(row: Row, chance: str, count: int) -> list[Lineup]:
    """`count` line-ups of the answers of `row`, in orders that `chance` draws.

    An order is drawn and then turned: over as many line-ups as there are texts, each text stands once at each
    place. No order comes again before all have been. A larger `count` only adds line-ups.
    """
    return [
        Lineup(tuple(row.answers[same[0]].text for same in shown), shown)
        for shown in islice(_orders(same_texts(row), random.Random(chance)), count)
    ]


def _orders(groups: Sequence[Group], dice: random.Random) -> Iterator[tuple[Group, ...]]:
    """Orders of `groups`, without end."""
    begun: set[tuple[Group, ...]] = set()
    while groups:
        drawn = tuple(dice.sample(groups, len(groups)))
        turned = [drawn[place:] + drawn[:place] for place in range(len(drawn))]
        if drawn in begun:
            continue
        yield from turned
        begun.update(turned)
        if len(begun) == math.factorial(len(groups)):
            begun.clear()
