"""Diff: what an edit of a constitution changed, and what that does to its draws.

Draws go by a principle's id and weight, so a new wording moves none and a new principle takes only those that
it wins. How many, is counted on draws made for the purpose, the same ones whatever is compared; a run's own
draws are as many as it has rounds and comparisons, and scatter around these shares.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from synth.constitution import Constitution, Principle
from synth.rouge import tokens

DRAWS = 10_000
CHANCES = tuple(f"draw/{number}" for number in range(DRAWS))
PARTS = ("text", "critique", "revise", "judge", "weight")


@dataclass(frozen=True, slots=True)
class Draws:
    """What became of the draws of one principle.

    Attributes:
        before, after: how many it had, and has.
        won, lost: how many it took from others, and others from it.
    """

    before: int = 0
    after: int = 0
    won: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two constitutions.

    Attributes:
        added, removed: ids of principles, in the order of their file.
        renamed: principles of the same words under another id, new by old; they count as removed and added.
        changed: which parts of a principle changed, by its id.
        draws: what became of the draws of every principle that is in one of them.
        moved: how many of `DRAWS` draws fall on another principle than before.
        reworded: how many fall on the same one, but it reads otherwise now.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: Mapping[str, str]
    changed: Mapping[str, tuple[str, ...]]
    draws: Mapping[str, Draws]
    moved: int
    reworded: int

    @property
    def is_same(self) -> bool:
        """Whether nothing changed that a run could notice."""
        return not (self.added or self.removed or self.changed)


def diff(before: Constitution, after: Constitution) -> Diff:
    """What changed from `before` to `after`."""
    old, new = ({principle.id: principle for principle in each.principles} for each in (before, after))
    added = tuple(id_ for id_ in new if id_ not in old)
    removed = tuple(id_ for id_ in old if id_ not in new)
    changed = {id_: parts for id_ in new if id_ in old and (parts := _parts(old[id_], new[id_]))}
    pairs = Counter((before.draw(chance).id, after.draw(chance).id) for chance in CHANCES)
    return Diff(
        added,
        removed,
        renamed={id_: name for id_ in removed for name in added if _words(old[id_]) == _words(new[name])},
        changed=changed,
        draws={id_: _draws(id_, pairs) for id_ in dict.fromkeys([*old, *new])},
        moved=sum(count for (one, other), count in pairs.items() if one != other),
        reworded=sum(
            count
            for (one, other), count in pairs.items()
            if one == other and set(changed.get(one, ())) - {"weight"}
        ),
    )


def _parts(one: Principle, other: Principle) -> tuple[str, ...]:
    return tuple(part for part in PARTS if getattr(one, part) != getattr(other, part))


def _words(principle: Principle) -> list[str]:
    return list(tokens(principle.text))


def _draws(id_: str, pairs: Counter[tuple[str, str]]) -> Draws:
    before = sum(count for (one, _), count in pairs.items() if one == id_)
    after = sum(count for (_, other), count in pairs.items() if other == id_)
    stayed = pairs[id_, id_]
    return Draws(before, after, won=after - stayed, lost=before - stayed)
