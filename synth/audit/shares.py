"""A share of a count, as every audit prints it: how many of how many, with its 95 % interval."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import nan

from synth.train.intervals import Interval, wilson


@dataclass(frozen=True, slots=True)
class Share:
    """`part` of `whole`; a half is half a point. nan if there is nothing to take a share of."""

    part: float
    whole: int

    @property
    def value(self) -> float:
        """The share in [0, 1]."""
        return self.part / self.whole if self.whole else nan

    @property
    def interval(self) -> Interval:
        """The share with its score interval (Wilson 1927).

        Where a point may be a fraction it is wider than need be: points in [0, 1] vary at most as much as
        wins and losses of the same mean do.
        """
        return wilson(self.part, self.whole) if self.whole else Interval(nan, nan, nan)

    @classmethod
    def of(cls, points: Iterable[float]) -> "Share":
        """The share that `points`, each in [0, 1], come to."""
        known = list(points)
        return cls(sum(known), len(known))
