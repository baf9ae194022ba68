"""Count sketches: a short linear image of an update, for filters that must not see it (docs/PROTOCOL.md, "Sketches").

Charikar, Chen and Farach-Colton 2002: in each row every lane is added, with a random sign, to one random cell.
A sketch is linear, so the sketches of a round's vectors add up to the sketch of their sum; a dot product of two
sketches, over ROWS, is an unbiased estimate of the dot product of what they were made of.

The seed is drawn after all inputs are frozen. With it anybody computes every place and sign; a node that knew it
earlier could build an update whose sketch is zero.
"""

from collections.abc import Iterable, Iterator
from hashlib import shake_256
from math import sqrt
from struct import pack
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crimson_protocol.crypto.labels import SKETCH
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

ROWS: Final = 4
SEED_BYTES: Final = 32
LANES_PER_HASH: Final = 1 << 16
"""Lanes whose places and signs one hash gives; part of the protocol."""
LARGEST_LANE: Final = 1 << 36
"""Lanes may be of this magnitude at most: 4096 summed values of 24 bits."""

_WIDEST_ROW: Final = 1 << 15  # A lane draws 16 bits: one for its sign, the rest for its place.

Lanes = NDArray[np.int64]


def sketch(lanes: Lanes | Iterable[Lanes], seed: bytes, buckets: int) -> Lanes:
    """The sketch (buckets,) of `lanes` (d,), whole or as consecutive blocks of any lengths; exact.

    buckets: cells in all, ROWS rows of a power of two each. Lane i of hash block j = i // LANES_PER_HASH reads, for
    row r, the little-endian 16-bit word i % LANES_PER_HASH of SHAKE-256(label, r, j, seed), r and j as 32-bit
    big-endian words: its lowest bits are the cell in the row, the next bit is set for a negative sign.
    Raises CallerFault: WRONG_LENGTH for the seed, OUT_OF_RANGE for `buckets` or a lane beyond LARGEST_LANE,
    MALFORMED for lanes of another type or shape.
    """
    width = row_width(buckets)
    if len(seed) != SEED_BYTES:
        raise CallerFault(Refusal.WRONG_LENGTH, "a sketch seed has 32 bytes")
    total = np.zeros((ROWS, width), np.int64)
    for start, block in _pieces([lanes] if isinstance(lanes, np.ndarray) else lanes):
        # Sums in float64 are exact: at most 2^16 values of at most 2^36.
        values = block.astype(np.float64)
        for row in range(ROWS):
            words = _words(row, start, block.size, seed) & (2 * width - 1)
            cells = np.bincount(words, values, 2 * width).astype(np.int64)
            total[row] += cells[:width] - cells[width:]
    return total.reshape(-1)


def row_width(buckets: int) -> int:
    """Cells in a row, or CallerFault(OUT_OF_RANGE) where `buckets` is not ROWS times a power of two."""
    width, rest = divmod(buckets, ROWS)
    if rest or not 2 <= width <= _WIDEST_ROW or width & (width - 1):
        raise CallerFault(
            Refusal.OUT_OF_RANGE,
            f"a sketch has {ROWS} rows of a power of two of buckets, {_WIDEST_ROW} at most",
        )
    return width


def _pieces(blocks: Iterable[Lanes]) -> Iterator[tuple[int, Lanes]]:
    """(first lane, lanes) such that no piece crosses from one hash block into the next."""
    start = 0
    for block in blocks:
        if block.ndim != 1 or block.dtype != np.int64:
            raise CallerFault(Refusal.MALFORMED, "a sketch is made of one row of int64 lanes")
        if block.size and max(int(block.max()), -int(block.min())) > LARGEST_LANE:
            raise CallerFault(Refusal.OUT_OF_RANGE, "a lane is too large to be sketched exactly")
        at = 0
        while at < block.size:
            piece = block[at : at + LANES_PER_HASH - start % LANES_PER_HASH]
            yield start, piece
            at, start = at + piece.size, start + piece.size


def _words(row: int, start: int, count: int, seed: bytes) -> NDArray[np.uint16]:
    """The 16 bits of each lane in [start, start + count), all within one hash block."""
    block, skipped = divmod(start, LANES_PER_HASH)
    stream = shake_256(SKETCH.encode() + pack(">II", row, block) + seed).digest(2 * (skipped + count))
    return np.frombuffer(stream, "<u2", count, 2 * skipped)


def equal_modulo(sum_of_sketches: Lanes, sketch_of_sum: Lanes, ring_bits: int) -> bool:
    """Whether two sketches agree in every cell modulo 2^ring_bits, 8 to 32.

    The ring is all that an opened sum is known in. Sums of int64 that wrap around do not matter: 2^ring_bits
    divides 2^64. Raises CallerFault(WRONG_LENGTH) for sketches of unlike lengths, OUT_OF_RANGE for the ring.
    """
    if not 8 <= ring_bits <= 32:
        raise CallerFault(Refusal.OUT_OF_RANGE, "ring words have 8 to 32 bits")
    if sum_of_sketches.shape != sketch_of_sum.shape:
        raise CallerFault(Refusal.WRONG_LENGTH, "sketches of unlike lengths cannot be compared")
    differences = sum_of_sketches.view(np.uint64) - sketch_of_sum.view(np.uint64)
    return not (differences & np.uint64((1 << ring_bits) - 1)).any()


def norm_estimate(values: Lanes | NDArray[np.float64]) -> float:
    """Estimate of the L2 norm of what was sketched: root of the mean over rows of the squared cells' sum.

    The square is unbiased, with a variance of at most 2 |x|^4 / buckets (Thorup and Zhang 2012): the estimate
    of the norm is off by about |x| / sqrt(2 buckets), 4.4 % at 256 buckets.
    """
    reals = np.asarray(values, np.float64)
    return sqrt(float(np.vecdot(reals, reals)) / ROWS)
