"""Real numbers as fixed point in the ring, and exact integers as limbs (docs/PROTOCOL.md, "Vector").

One quantum is clip / 2^value_bits. A value is scaled, rounded to 2^-f quanta, and then rounded to a whole
quantum up or down at random, so that the sum of many nodes is not pulled towards zero.
"""

from collections.abc import Sequence
from math import isfinite, ldexp, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crimson_protocol.entropy import Fill
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

Words = NDArray[np.uint32]
Reals = NDArray[np.float32] | NDArray[np.float64]

BLOCK = 1 << 16
"""Values handled at a time, in reused buffers that stay in the cache: peak memory does not grow with the vector."""

_RANDOM_BITS: Final = 16
# Values in one dot product: few enough for float32, and for BLAS not to wake threads, whose waiting costs
# more than the sum.
_ROW: Final = 256


def fraction_bits(value_bits: int) -> int:
    """f, the random bits below one quantum: as many as an int32 leaves room for, 6 to 15."""
    if not 8 <= value_bits <= 24:
        raise CallerFault(Refusal.OUT_OF_RANGE, "values have 8 to 24 bits")
    return min(15, 30 - value_bits)


def encode_into(out: Words, values: Reals, scale: float, fill: Fill, value_bits: int) -> None:
    """Write round(values * scale) in two's complement modulo 2^32, rounded up or down at random.

    out: uint32, one row as long as values. values: float32 or float64 in the update's unit. scale: quanta
    per unit, (weight / weight_cap) * 2^value_bits / clip. fill: uniform bytes, 2 per value.
    Every result lies in [-2^value_bits, 2^value_bits], exactly; what lies outside is clamped.
    Bias: |E[result] - values * scale| <= 2^-(f+1) + 2^-e * |values * scale| quanta inside that range, with
    f = fraction_bits(value_bits) and e = 23 for float32, 52 for float64 (the scaled product's own rounding).
    Raises CallerFault NOT_FINITE; `out` is then partly written.
    """
    fraction = fraction_bits(value_bits)
    _check_reals(values)
    if out.dtype != np.uint32 or out.shape != values.shape:
        raise CallerFault(Refusal.WRONG_LENGTH, "values are encoded into as many uint32 words")
    if not (isfinite(scale) and scale > 0):
        raise CallerFault(Refusal.NOT_FINITE, "the scale of an encoding must be positive and finite")
    size = min(BLOCK, values.size)
    scaled, noise = np.empty(size, values.dtype), np.empty(size, np.uint16)
    factor, limit = values.dtype.type(ldexp(scale, fraction)), ldexp(1.0, value_bits + fraction)
    signed = out.view(np.int32)
    for start in range(0, values.size, BLOCK):
        block, steps = values[start : start + BLOCK], signed[start : start + BLOCK]
        part, dither = scaled[: block.size], noise[: block.size]
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply(block, factor, out=part)
        if not (part.min() >= -limit and part.max() <= limit):
            _clamp(part, block, limit)
        np.rint(part, out=part)
        np.copyto(steps, part, casting="unsafe")
        fill(dither.data.cast("B"))
        np.right_shift(dither, _RANDOM_BITS - fraction, out=dither)
        # floor((y + r) / 2^f) averages to y / 2^f over r in [0, 2^f): exact, and the shift is that floor.
        np.add(steps, dither, out=steps)
        np.right_shift(steps, fraction, out=steps)


def _check_reals(values: Reals) -> None:
    if values.ndim != 1 or values.dtype not in (np.float32, np.float64):
        raise CallerFault(Refusal.MALFORMED, "an update is one row of float32 or float64")


def _clamp(part: Reals, block: Reals, limit: float) -> None:
    """Clamp a scaled block, where the product may have overflowed but the values themselves may not."""
    if not np.isfinite(block).all():
        raise CallerFault(Refusal.NOT_FINITE, "an update contains a value that is not finite")
    np.clip(part, -limit, limit, out=part)


def clip_factor(update: Reals, clip: float) -> float:
    """What to multiply `update` by so that its L2 norm is at most `clip`; 1.0 where it is within it already.

    The factor leaves room for its own rounding to the update's type and for that of every product, so it
    may be folded into the scale of `encode_into`: no clipped copy of the vector is ever made.
    The norm is summed in float64. Raises CallerFault NOT_FINITE for NaN, infinity, or a norm beyond float64.
    """
    _check_reals(update)
    if not (isfinite(clip) and clip > 0):
        raise CallerFault(Refusal.OUT_OF_RANGE, "a clip must be positive and finite")
    norm = _norm(update)
    if not isfinite(norm):
        raise CallerFault(Refusal.NOT_FINITE, "an update's norm is not finite")
    return 1.0 if norm <= clip else clip / norm * (1 - 4 * float(np.finfo(update.dtype).eps))


def _norm(values: Reals) -> float:
    """Upper bound on the L2 norm, at most a relative 2^-15 above it for float32 and 2^-30 for float64.

    Squares are summed in the update's own type along rows of _ROW, and the rows' sums in float64. Whatever
    the order, a row's relative error is below _ROW * 2^-24 (Higham, Accuracy and Stability, section 3.1);
    what underflows is below half a smallest subnormal for every value.
    """
    whole = values.size - values.size % _ROW
    rows, rest = values[:whole].reshape(-1, _ROW), values[whole:]
    guard = 1 + _ROW * float(np.finfo(values.dtype).eps) if values.dtype == np.float32 else 1 + 2.0**-30
    lost = values.size * float(np.finfo(values.dtype).smallest_subnormal)
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.vecdot(rows, rows).sum(dtype=np.float64)) + float(np.vecdot(rest, rest))
    return sqrt(total * guard + lost)


def decode(words: Words, bits: int) -> NDArray[np.int64]:
    """The representative in [-2^(bits-1), 2^(bits-1)) of each word modulo 2^bits; higher bits are ignored."""
    if not 8 <= bits <= 32:
        raise CallerFault(Refusal.OUT_OF_RANGE, "ring words have 8 to 32 bits")
    if words.ndim != 1 or words.dtype != np.uint32:
        raise CallerFault(Refusal.MALFORMED, "words come as one row of uint32")
    spare, lifted = 32 - bits, np.empty(words.size, np.int64)
    raised = np.empty(min(BLOCK, words.size), np.uint32)
    for start in range(0, words.size, BLOCK):
        block = words[start : start + BLOCK]
        top = np.left_shift(block, spare, out=raised[: block.size])
        np.right_shift(top.view(np.int32), spare, out=lifted[start : start + block.size])
    return lifted


def to_limbs(value: int, limb_bits: int, limbs: int) -> list[int]:
    """`value` in base 2^limb_bits, lowest first: all limbs in [0, 2^limb_bits) but the last, which is signed.

    Raises CallerFault OUT_OF_RANGE where |value| needs more than limb_bits * limbs bits, sign included.
    """
    if limb_bits < 1 or limbs < 1:
        raise CallerFault(Refusal.OUT_OF_RANGE, "limbs need at least one bit and one limb")
    half = 1 << (limb_bits * limbs - 1)
    if not -half <= value < half:
        raise CallerFault(Refusal.OUT_OF_RANGE, "a counter does not fit its limbs")
    mask = (1 << limb_bits) - 1
    low = [(value >> (limb_bits * place)) & mask for place in range(limbs - 1)]
    return [*low, value >> (limb_bits * (limbs - 1))]


def from_limbs(sums: Sequence[int], limb_bits: int) -> int:
    """The integer whose limbs these are. Linear, so summed limbs give the sum of the integers, exactly."""
    return sum(limb << (limb_bits * place) for place, limb in enumerate(sums))
