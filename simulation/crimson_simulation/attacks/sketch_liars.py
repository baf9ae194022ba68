"""Attackers who submit one thing and sketch another, so that a filter on sketches sees honest updates.

A sketch is linear, so what an attacker pretends to have submitted is told by the lanes (d,) that it
sketches: int64 quanta, like the encoded update itself.
"""

import numpy as np
from numpy.typing import NDArray

from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

Lanes = NDArray[np.int64]


def naive_liars(honest: Lanes, submitted: Lanes) -> Lanes:
    """Sketches of the honest updates (k, d) of k attackers who submitted `submitted` (k, d).

    The sum of all sketches is then not the sketch of the sum, unless the lies happen to cancel.
    """
    _check(honest, submitted)
    return honest.copy()


def carried_liars(honest: Lanes, submitted: Lanes, carriers: int) -> Lanes:
    """As `naive_liars`, but the last `carriers` attackers sketch the difference on top, in equal parts.

    The columns' sums are exactly those of `submitted`, so the sum of sketches is the sketch of the sum; the
    carriers' own sketches show what they carry. Raises CallerFault for fewer than 1 carrier or more than k.
    """
    _check(honest, submitted)
    if not 1 <= carriers <= len(honest):
        raise CallerFault(Refusal.OUT_OF_RANGE, "between one and all of the attackers carry a difference")
    sketched = honest.copy()
    difference = (submitted - honest).sum(axis=0)
    part, rest = np.divmod(difference, carriers)
    sketched[-carriers:] += part
    sketched[-1] += rest
    return sketched


def _check(honest: Lanes, submitted: Lanes) -> None:
    if honest.shape != submitted.shape or honest.dtype != np.int64 or submitted.dtype != np.int64:
        raise CallerFault(Refusal.MALFORMED, "a liar has one row of int64 lanes for each row that it submits")
