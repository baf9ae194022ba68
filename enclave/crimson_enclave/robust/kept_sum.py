"""The trimmed mean and the median before their division, in exact integers, for noise to be added to."""

import numpy as np
from numpy.typing import NDArray

from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

Integers = NDArray[np.int64]

_BLOCK = 1 << 14


def kept(values: Integers, trimmed: int) -> tuple[Integers, int]:
    """In every coordinate the sum of the order statistics that are neither among the `trimmed` lowest nor highest.

    values: (B, d) int64 bucket sums in quanta, |value| < 2^63 / B. Returns ((d,) int64, B - 2·trimmed). `trimmed`
    = (B - 1) // 2 keeps the one or two in the middle: the median. Replacing one value moves this sum by at most the
    difference, in every coordinate, because sorting does not expand (each order statistic moves one way only and
    all of them together by no more than the value moved): so a node's L2 sensitivity is its own norm.
    Raises CallerFault(OUT_OF_RANGE) where nothing would be kept, MALFORMED for another type or shape.
    """
    if values.ndim != 2 or values.dtype != np.int64:
        raise CallerFault(Refusal.MALFORMED, "kept values are rows of int64")
    count = len(values)
    if trimmed < 0 or 2 * trimmed >= count:
        raise CallerFault(
            Refusal.OUT_OF_RANGE, f"trimming {trimmed} on each side keeps none of {count} values"
        )
    sums = np.empty(values.shape[1], np.int64)
    for start in range(0, values.shape[1], _BLOCK):
        block = values[:, start : start + _BLOCK]
        ordered = np.sort(block.T, axis=1)[:, trimmed : count - trimmed] if trimmed else block.T
        ordered.sum(axis=1, out=sums[start : start + _BLOCK])
    return sums, count - 2 * trimmed
