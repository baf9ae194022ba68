"""The norm bound: a test of one vector at a time, against public numbers only.

What it says about a vector does not depend on the others, so it may stand before noise: one node moves a sum of
accepted vectors, over a public divisor, by no more than its own.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.robust.rows import Rows
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

Floats = NDArray[np.float64]


def lengths(rows: Rows, origin: Floats | None = None) -> Floats:
    """L2 distance (M,) of each vector from `origin`, of shape (d,); without one, its norm."""
    squares = np.zeros(rows.count)
    for start, stop, block in rows.blocks():
        shifted = block if origin is None else block - origin[start:stop]
        squares += np.vecdot(shifted, shifted)
    return np.sqrt(squares)


def rounding_slack(accepted: NDArray[np.int64], weights: NDArray[np.int64], parameters: int) -> Floats:
    """(M,): by which share of the clip a bucket mean of honest nodes may exceed it, for their rounding alone.

    accepted: (M,) nodes per bucket. weights: (M,) opened weight lanes in quanta. An honest node of weight lane r sends
    a vector of norm at most r + 1 + √d quanta: its clipped update, half a quantum for the weight's rounding and as
    much to spare, less than one for each lane's. Summed over s nodes and divided by W = sum r, the mean's norm is at
    most 1 + s(1 + √d) / W in units of the clip. Worst case: a bound with this slack rejects no honest bucket, and
    `project` takes the slack back.
    Raises CallerFault(OUT_OF_RANGE) for a bucket without weight, which has no mean.
    """
    if (weights <= 0).any():
        raise CallerFault(Refusal.OUT_OF_RANGE, "a bucket without weight has no mean")
    rounding: Floats = accepted * (1 + sqrt(parameters)) / weights
    return rounding


def exceeding(values: Floats, radius: float | Floats) -> NDArray[np.bool_]:
    """(M,): which of the vectors (M, d) have a norm above `radius`, one for all or one each (M,)."""
    above: NDArray[np.bool_] = lengths(Rows(values)) > radius
    return above


def projection(norms: Floats, radius: float) -> Floats:
    """(M,): what to multiply vectors of these norms by so that they lie on or in the ball of `radius`; 1.0 inside it.

    The factor leaves room for its own rounding and for that of every product.
    """
    if not (np.isfinite(radius) and radius > 0):
        raise CallerFault(Refusal.OUT_OF_RANGE, "a radius must be positive and finite")
    shrunk = radius * (1 - 8 * float(np.finfo(np.float64).eps))
    return np.divide(shrunk, norms, out=np.ones_like(norms), where=norms > radius)


def project(values: Floats, radius: float, out: Floats | None = None) -> Floats:
    """The vectors (M, d), each projected on the ball of `radius`; into `out`, which may be `values`, where given."""
    factors = projection(lengths(Rows(values)), radius)
    return np.multiply(values, factors[:, None], out=out)
