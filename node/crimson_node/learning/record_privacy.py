"""One site's part of a round with record-level differential privacy: sample, clip record by record, add up.

M. Abadi et al., "Deep learning with differential privacy", CCS 2016; noise is drawn once, in the enclave, on the sum
over all sites, or at the site in every local step. What this module owes the accountant: every record is in the sample
by itself with probability q, from secret and unbiased bits; and with or without one record the returned sum differs by
a vector of norm at most `clip`. A record is one row. A patient with k rows is protected k-fold less, so a site must
bring at most one row per patient; nothing here can check that.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from crimson_node.data.rows import Floats
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

MICRO = 1_000_000
Places = npt.NDArray[np.int64]
RecordSlopes = Callable[[Places], Floats]
"""Slopes (len(places), d) of the training rows at these places."""

# Clipped slopes are cut to multiples of 2^-30 of the next power of two above the clip, so that up to 2^22 of them
# add up without any rounding in float64.
_GRID_BITS = 30
_MOST_RECORDS = 1 << 22
# Values of slopes held at a time: memory grows with neither rows nor parameters beyond it.
_BLOCK = 1 << 22
# Largest multiple of a million below 2^32: what lies beyond would favour small remainders.
_EVEN = (1 << 32) // MICRO * MICRO


def poisson_sample(rows: int, sampling_micro: int, entropy: Entropy) -> Places:
    """Places of the rows in the sample, ascending; each is in it by itself with probability sampling_micro / 10^6.

    Exactly so, given that `entropy` gives uniform bytes: words beyond the last whole million are drawn again.
    """
    if not 0 <= sampling_micro <= MICRO:
        raise CallerFault(Refusal.OUT_OF_RANGE, "a sampling probability lies between 0 and 1")
    words = np.frombuffer(entropy(4 * rows), "<u4").copy()
    while (again := np.flatnonzero(words >= _EVEN)).size:
        words[again] = np.frombuffer(entropy(4 * again.size), "<u4")
    return np.flatnonzero(words % np.uint32(MICRO) < sampling_micro).astype(np.int64)


def clipped(slopes: Floats, clip: float) -> Floats:
    """Every row of `slopes` (records, d) brought to a norm of at most `clip`, on the common grid.

    The bound holds exactly, not but for rounding: the factor is lowered by more than the computed norm can be off
    (N. Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), and cutting to the grid goes
    towards zero. A row that is not finite counts as zero: a refusal would tell that such a record is there.
    """
    finite = np.isfinite(slopes).all(axis=1, keepdims=True)
    kept = np.where(finite, slopes, 0.0)
    # Scaled by the largest value first, so that squares neither overflow nor vanish.
    largest = np.maximum(np.abs(kept).max(axis=1, initial=0.0), np.finfo(np.float64).tiny)
    unit = kept / largest[:, None]
    norms = np.sqrt(np.square(unit).sum(axis=1))
    slack = (slopes.shape[1] + 8) * np.finfo(np.float64).eps
    shrunk = np.minimum(largest, clip * (1 - slack) / np.maximum(norms, 1.0))
    grid = grid_of(clip)
    return np.asarray(np.trunc(unit * shrunk[:, None] / grid) * grid, dtype=np.float64)


def grid_of(clip: float) -> float:
    """What every clipped slope is a multiple of: 2^-30 of the least power of two above the clip."""
    return math.ldexp(1.0, math.frexp(clip)[1] - _GRID_BITS)


def clipped_sum(slopes: RecordSlopes, places: Places, parameters: int, clip: float) -> Floats:
    """Sum over the rows at `places` of their clipped slopes (parameters,); zeros for an empty sample.

    The sum is exact, so its order does not matter and one record moves it by its own clipped slope and by nothing
    else; rounding while adding would break that bound (S. Casacuberta et al., CCS 2022). Raises CallerFault on a
    clip that is not above 0 and on more rows than can be added exactly.
    """
    if not (math.isfinite(clip) and clip > 0):
        raise CallerFault(Refusal.OUT_OF_RANGE, "the clip of a record must be finite and above 0")
    if len(places) > _MOST_RECORDS:
        raise CallerFault(Refusal.TOO_LARGE, f"a sample holds at most {_MOST_RECORDS} records")
    total = np.zeros(parameters)
    height = max(1, _BLOCK // parameters)
    for first in range(0, len(places), height):
        total += clipped(slopes(places[first : first + height]), clip).sum(axis=0)
    return total


def private_change(
    slopes: RecordSlopes, rows: int, parameters: int, clip: float, sampling_micro: int, entropy: Entropy
) -> Floats:
    """A site's change of one round (parameters,): minus the clipped sum over a fresh Poisson sample of its rows.

    Summed over sites, noised and divided by the expected size of the sample it is one step of DP-SGD at rate 1.
    """
    places = poisson_sample(rows, sampling_micro, entropy)
    return -clipped_sum(slopes, places, parameters, clip)
