"""Best of n: what drawing n samples and keeping the best of them gains, and how far it moves.

The bound on the divergence is from Stiennon et al. 2020 (arXiv:2009.01325), the estimator from Nakano et al.
2021, "WebGPT" (arXiv:2112.09332), both in appendices. Gao et al. 2022 (arXiv:2210.10760) find the true reward
of the best of n near d(alpha - beta d), d being the root of that divergence: more is not always better.
"""

import math
from collections.abc import Sequence


def kl_bound(n: int) -> float:
    """At most so many nats lies the best of `n` samples from one sample, by KL divergence.

    Exact where no two samples ever tie.
    """
    return math.log(n) - (n - 1) / n


def expected_best(values: Sequence[float], n: int) -> float:
    """Unbiased estimate of the expected maximum of `n` values, from at least `n` independent ones.

    It is the mean of the maximum over all ways to take `n` of `values`: the i-th smallest of N is that
    maximum in C(i-1, n-1) of C(N, n) ways. The shares are multiplied up from that of the largest value, n/N,
    so that no binomial is ever formed.
    """
    assert 1 <= n <= len(values)
    share = n / len(values)
    parts = []
    for place, value in zip(range(len(values), n - 1, -1), sorted(values, reverse=True), strict=False):
        parts.append(share * value)
        share *= (place - n) / max(place - 1, 1)
    return math.fsum(parts)


def doublings(most: int) -> list[int]:
    """1, 2, 4 and so on, as far as `most`."""
    return [2**power for power in range(most.bit_length())]
