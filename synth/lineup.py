"""A line-up: several answers of a row shown to a judge side by side, each under a letter, in some order.

Equal texts stand in it once, and what is said of the one is said of all. What a judge says by letter is
brought back to the answers here, so that no judge can forget the order in which it was shown them.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TypeVar

from synth.rows import Row

Said = TypeVar("Said")

MOST = len(ascii_uppercase)


@dataclass(frozen=True, slots=True)
class Lineup:
    """Answers in the order in which a judge sees them.

    Attributes:
        texts: what is shown, in the order shown.
        shown: the indices of the answers with that text, for each text.
    """

    texts: tuple[str, ...]
    shown: tuple[tuple[int, ...], ...]

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


def same_texts(row: Row) -> list[tuple[int, ...]]:
    """The indices of the answers of `row`, those of equal text together, by their first."""
    groups: dict[str, list[int]] = {}
    for number, answer in enumerate(row.answers):
        groups.setdefault(answer.text, []).append(number)
    return [tuple(group) for group in groups.values()]


def lineup(row: Row, groups: Sequence[tuple[int, ...]], chance: str) -> Lineup:
    """The answers in `groups`, each a group of equal texts, in an order that `chance` draws."""
    shown = random.Random(chance).sample(groups, len(groups))
    return Lineup(tuple(row.answers[same[0]].text for same in shown), tuple(shown))
