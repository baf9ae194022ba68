"""The geometric median as weights on the vectors, from their distances alone."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_STEPS = 20_000
# Change of all weights in one step, in sum, at which the iteration has settled.
_SETTLED = 1e-13
# Steps without a smaller change than any before, at which only rounding is left.
_IDLE = 100
# A row whose neighbours pull at it no harder than this much above its own hold is the median, to within rounding.
_HELD = 1 + 1e-9
# Squared distance to a row, as a share of the middle one, at which a step starts on that row.
_ON_A_ROW = 1e-24


def median_weights(squared: Floats) -> Floats:
    """Weights (M,), adding up to one, with which the M vectors' sum minimises the sum of distances to them.

    squared: squared distances (M, M). Where vectors are minimisers themselves, their mean is taken; on a line with an
    even number of vectors that is the ordinary median. Else Weiszfeld's iteration (1937) from the mean, which
    leaves a vector that it lands on by the step of Vardi and Zhang (2000). All steps are taken in the weights:
    |x_i - sum_j w_j x_j|² = (Dw)_i - ½ w'Dw, so a step costs M² operations whatever the vectors' length.
    """
    distances = np.sqrt(squared)
    inverse = np.divide(1.0, distances, out=np.zeros_like(distances), where=distances > 0)
    held = np.count_nonzero(squared == 0, axis=1).astype(np.float64)
    pull = _pull(squared, distances, inverse)
    minimisers = pull <= held * _HELD
    if minimisers.any():
        return _even(minimisers)
    return _settled(squared, held / pull)


def _settled(squared: Floats, hold: Floats) -> Floats:
    weights = np.full(len(squared), 1.0 / len(squared))
    least, idle = np.inf, 0
    for _ in range(MOST_STEPS):
        following = _step(squared, weights, hold)
        change = float(np.abs(following - weights).sum())
        weights = following
        least, idle = (change, 0) if change < least else (least, idle + 1)
        if change <= _SETTLED or idle >= _IDLE:
            break
    return weights


def _pull(squared: Floats, distances: Floats, inverse: Floats) -> Floats:
    """(M,): length of the sum of unit vectors from each row towards all rows that differ from it.

    A row is a minimiser exactly where that length is at most the number of rows equal to it (Vardi and Zhang 2000).
    """
    inner = distances.sum(axis=1) * inverse.sum(axis=1) - 0.5 * ((inverse @ squared) * inverse).sum(axis=1)
    pull: Floats = np.sqrt(np.maximum(inner, 0.0))
    return pull


def _step(squared: Floats, weights: Floats, hold: Floats) -> Floats:
    """One step of the iteration. hold: (M,), the share of a step from a row that stays on it."""
    product = squared @ weights
    away = np.maximum(product - 0.5 * float(weights @ product), 0.0)
    on_row = away <= _ON_A_ROW * float(np.median(away))
    pulls = np.divide(1.0, np.sqrt(away), out=np.zeros_like(away), where=~on_row)
    following: Floats = pulls / pulls.sum()
    if on_row.any():
        stays = float(hold[on_row].max())
        following = (1 - stays) * following + stays * _even(on_row)
    return following


def _even(chosen: NDArray[np.bool_]) -> Floats:
    weights: Floats = chosen / np.count_nonzero(chosen)
    return weights
