"""Counters that stay as small as they are, however many rows they see."""

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Generic, TypeVar

Key = TypeVar("Key")

TENTHS = 10
EDGES = tuple(number / TENTHS for number in range(1, TENTHS))
PIECES = 8192
KEPT = 10_000


@dataclass(slots=True)
class Mean:
    """A mean, from the sum alone."""

    count: int = 0
    total: float = 0.0

    def add(self, value: float) -> None:
        """Take `value` in."""
        self.count += 1
        self.total += value

    @property
    def value(self) -> float | None:
        """The mean; None of nothing."""
        return self.total / self.count if self.count else None


@dataclass(slots=True)
class Histogram:
    """How many values in [0, 1] lie in each tenth. One on an edge counts in the bin above; 1 in the last."""

    bins: list[int] = field(default_factory=lambda: [0] * TENTHS)

    def add(self, value: float) -> None:
        """Take `value` in."""
        self.bins[bisect_right(EDGES, value)] += 1


@dataclass(slots=True)
class Timeline:
    """How many things came of each tenth of the requests, numbered from 0, whose number is not known before.

    Counted in `PIECES` pieces of equal size, which is doubled whenever a number does not fit. Up to that many
    requests it is exact; beyond them an edge between two tenths lies at most one piece off.
    """

    size: int = 1
    last: int = -1
    pieces: "array[int]" = field(default_factory=lambda: array("q", bytes(8 * PIECES)))

    def add(self, request: int) -> None:
        """Count a thing that came of `request`."""
        while request // self.size >= len(self.pieces):
            self._double()
        self.pieces[request // self.size] += 1
        self.last = max(self.last, request)

    def _double(self) -> None:
        pairs = zip(self.pieces[::2], self.pieces[1::2], strict=True)
        merged = array("q", (first + second for first, second in pairs))
        self.pieces = merged + array("q", bytes(8 * (len(self.pieces) - len(merged))))
        self.size *= 2

    @property
    def requests(self) -> int:
        """How many requests there were, up to the last one of which something came."""
        return self.last + 1

    def tenths(self) -> list[tuple[int, int]]:
        """For each tenth of the requests how many these are, and how many things came of them."""
        found = [[0, 0] for _ in range(TENTHS)]
        for piece in range(-(-self.requests // self.size)):
            first, end = piece * self.size, min((piece + 1) * self.size, self.requests)
            tenth = found[(first + end - 1) * TENTHS // (2 * self.requests)]
            tenth[0] += end - first
            tenth[1] += self.pieces[piece]
        return [(requests, things) for requests, things in found]


@dataclass(slots=True)
class Frequent(Generic[Key]):
    """The commonest of many keys, as Misra and Gries 1982, "Finding repeated elements", count them.

    Exact as long as there are at most ``2 * kept`` different keys. When there are more, all counts are
    lowered by that of the `kept`-th commonest, and keys without a count are forgotten. A count is never too
    high, and at most `lost` too low, which is at most all that was counted, divided by `kept`.
    """

    kept: int = KEPT
    lost: int = 0
    counts: dict[Key, int] = field(default_factory=dict)

    def add(self, key: Key) -> None:
        """Count `key`."""
        self.counts[key] = self.counts.get(key, 0) + 1
        if len(self.counts) > 2 * self.kept:
            less = nlargest(self.kept, self.counts.values())[-1]
            self.counts = {key: count - less for key, count in self.counts.items() if count > less}
            self.lost += less

    def top(self, number: int) -> list[tuple[Key, int]]:
        """The `number` commonest keys with their counts; equal counts in the order of the keys."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))[:number]
