"""The noise of one local step, drawn at the node by OpenDP, on a sum of clipped slopes that one record moves by `clip`.

A discrete Gaussian (C. Canonne, G. Kamath and T. Steinke, NeurIPS 2020) from the operating system's generator. It is
added as an integer on a grid 2^20 times finer than the sum's own, where its deviation is 2^48 steps or more: there it
is within 2^-96 of a rounded continuous Gaussian in total variation, per draw, and what is proved of that one's sampled
and composed releases holds. Sum and noise are added exactly and rounded once, so no low bit tells of either.
"""

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
import opendp.prelude as opendp

from crimson_node.data.rows import Floats
from crimson_node.learning.record_privacy import MICRO, grid_of

_FINER = 20


def noisy(total: Floats, clip: float, multiplier_micro: int) -> Floats:
    """`total` (d,), on the grid of sums clipped to `clip`, plus noise of deviation multiplier * clip in each lane."""
    grid = grid_of(clip)
    deviation = Fraction(multiplier_micro, MICRO) * Fraction(clip) / Fraction(grid) * 2**_FINER
    # Rounded up: never less noise than was promised.
    drawn = _mechanism(math.nextafter(float(deviation), math.inf))([0] * len(total))
    exact = [(int(value) << _FINER) + noise for value, noise in zip(total / grid, drawn, strict=True)]
    return np.array(exact, dtype=np.float64) * math.ldexp(grid, -_FINER)


@lru_cache(maxsize=4)
def _mechanism(deviation: float) -> opendp.Measurement:
    opendp.enable_features("contrib")
    vectors = opendp.vector_domain(opendp.atom_domain(T="i64")), opendp.l2_distance(T="f64")
    return opendp.m.make_gaussian(*vectors, scale=deviation)
