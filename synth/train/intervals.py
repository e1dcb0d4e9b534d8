"""How sure a number is: 95 % intervals of a share and of a mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution
_DRAWS = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(wins: float, of: int) -> Interval:
    """The share of `wins`, with its score interval.

    Wilson 1927, as in Newcombe 1998, method 3. Unlike the textbook interval it stays in [0, 1] and has a
    width where all or none win.
    """
    share, z2 = wins / of, Z * Z
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z * sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> Interval:
    """The mean of `values`, with its percentile bootstrap interval over 10,000 draws.

    The values are drawn with replacement, so they must be independent of each other: pair two models'
    values first. The same values and seed give the same interval.
    """
    import numpy as np

    known = np.asarray(values, dtype=np.float64)
    chance = np.random.default_rng(seed)
    # One draw at a time: all at once would take 80 kB a value.
    means = [float(chance.choice(known, len(known)).mean()) for _ in range(_DRAWS)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(known.mean()), float(low), float(high))
