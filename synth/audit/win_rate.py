"""How often a model wins against another: AlpacaEval's preferences, win rate and length-controlled win rate.

Dubois et al. 2024 (AlpacaEval 2, arXiv:2404.04475), section 3: preference = logistic(model + length * tanh(
length difference / its standard deviation)), read where both answers are equally long. Differs in three
ways: there is no term for the difficulty of an instruction and there are no answers of gamed models, since
both are files of theirs; the penalty is quadratic (theirs is L1), chosen from the same ten strengths by the
loss on folds that hold an instruction's comparisons together; so its numbers are not those of their table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from typing import TYPE_CHECKING

from synth.train.intervals import Interval, Z

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FOLDS = 5
_NEWTON_STEPS = 100


@dataclass(frozen=True, slots=True)
class WinRate:
    """A win rate in per cent; a draw is half a win.

    Attributes:
        value: nan if nothing could be read; `standard_error`: of it, nan for fewer than two.
        of: comparisons that could be read; `excluded`: those that could not.
    """

    value: float
    standard_error: float
    of: int
    excluded: int


def preference(p_first: float, p_second: float) -> float:
    """AlpacaEval 2's preference in [1, 2], 2 if the second answer is surely the better.

    Args:
        p_first: probability of the token that names the first answer; 0.0 if it was not among those returned.
        p_second: the same of the second.

    Returns:
        nan if neither was returned: such a comparison says nothing, and is counted as excluded.
    """
    both = p_first + p_second
    return 2 - p_first / both if both > 0 else nan


def win_rate(preferences: Sequence[float | None]) -> WinRate:
    """The second answers' win rate: the mean of ``preference - 1`` of those that could be read."""
    wins = [wanted - 1 for wanted in preferences if wanted is not None and not isnan(wanted)]
    mean = sum(wins) / len(wins) if wins else nan
    deviations = sum((won - mean) ** 2 for won in wins)
    error = sqrt(deviations / (len(wins) - 1) / len(wins)) if len(wins) > 1 else nan
    return WinRate(100 * mean, 100 * error, len(wins), len(preferences) - len(wins))


def length_controlled(
    preferences: Sequence[float | None], lengths: Sequence[tuple[int, int]], instructions: Sequence[str]
) -> Interval:
    """The second answers' win rate in per cent, had both answers been equally long, with its 95 % interval.

    The interval is that of the fitted model (from the curvature of its loss). A judge that decides by length
    without exception shows nothing of equally long answers: the value is then anything, the interval wide.

    Args:
        preferences: in [1, 2]; None and nan are left out.
        lengths: of both answers, in characters.
        instructions: what was asked; comparisons of one stay in one fold.

    Returns:
        nan if fewer than two could be read, or if all differences are one and the same: then a better model
        and a longer one look alike.
    """
    import numpy as np

    kept = [number for number, wanted in enumerate(preferences) if wanted is not None and not isnan(wanted)]
    longer = np.array([lengths[number][1] - lengths[number][0] for number in kept], dtype=np.float64)
    if len(kept) < 2 or (np.ptp(longer) == 0 and longer[0] != 0):
        return Interval(nan, nan, nan)
    # Not centred: where both are equally long the term must be nought.
    spread = float(longer.std(ddof=1)) or 1.0
    features = np.column_stack([np.ones(len(kept)), np.tanh(longer / spread)])
    wins = np.array([preferences[number] for number in kept], dtype=np.float64) - 1
    folds = _folds([instructions[number] for number in kept])
    strengths = [float(strength) for strength in np.logspace(-4, 4, 10)]
    best = min(strengths, key=lambda strength: _held_out_loss(features, wins, folds, strength))
    weights = _fitted(features, wins, best)
    error = np.sqrt(np.linalg.inv(_curve(features, weights, best))[0, 0])
    ends = weights[0] + error * np.array([0.0, -Z, Z])
    return Interval(*(100 * float(p) for p in _logistic(ends)))


def _folds(instructions: Sequence[str]) -> "NDArray[np.int64]":
    """Which fold each comparison is in: instructions are dealt out in the order in which they come."""
    import numpy as np

    dealt = {instruction: number for number, instruction in enumerate(dict.fromkeys(instructions))}
    return np.array([dealt[instruction] % FOLDS for instruction in instructions])


def _held_out_loss(features: "Array", wins: "Array", folds: "NDArray[np.int64]", strength: float) -> float:
    """Mean over the folds of the loss of each under what the others fit."""
    import numpy as np

    losses = []
    for fold in np.unique(folds):
        held = folds == fold
        if held.all():
            return 0.0  # one instruction: nothing to choose a strength by
        weights = _fitted(features[~held], wins[~held], strength)
        losses.append(_loss(features[held] @ weights, wins[held]) / held.sum())
    return float(np.mean(losses))


def _fitted(features: "Array", wins: "Array", strength: float) -> "Array":
    """The weights of least loss plus ``strength / 2`` times their squares, by Newton's steps."""
    import numpy as np

    weights = np.zeros(features.shape[1])
    for _ in range(_NEWTON_STEPS):
        slope = features.T @ (_logistic(features @ weights) - wins) + strength * weights
        step = np.linalg.solve(_curve(features, weights, strength), slope).astype(np.float64)
        weights = _shorter(features, wins, strength, weights, step)
        if np.abs(step).max() < 1e-10:
            break
    return weights


def _curve(features: "Array", weights: "Array", strength: float) -> "Array":
    """Second derivatives of the loss and its penalty: (weights, weights)."""
    import numpy as np

    p = _logistic(features @ weights)
    return features.T @ (features * (p * (1 - p))[:, None]) + strength * np.eye(len(weights))


def _shorter(features: "Array", wins: "Array", strength: float, weights: "Array", step: "Array") -> "Array":
    """One step down, halved until the loss does not rise: a full step can overshoot where wins are sure."""

    def penalised(at: "Array") -> float:
        return _loss(features @ at, wins) + strength / 2 * float(at @ at)

    before, share = penalised(weights), 1.0
    while share > 1e-6 and penalised(weights - share * step) > before:
        share /= 2
    return weights - share * step if share > 1e-6 else weights


def _loss(logits: "Array", wins: "Array") -> float:
    """Cross-entropy of wins in [0, 1], summed."""
    import numpy as np

    return float((np.logaddexp(0, logits) - wins * logits).sum())


def _logistic(logits: "Array") -> "Array":
    import numpy as np

    return np.exp(-np.logaddexp(0, -logits))
