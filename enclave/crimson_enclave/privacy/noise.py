"""Gaussian noise rounded to whole quanta, drawn exactly.

P(k) = Phi((k + 1/2) / sigma) - Phi((k - 1/2) / sigma). For an integer x, x + round(N) = round(x + N), so a sum with
this noise is the Gaussian mechanism's output, post-processed: whatever is proved for that mechanism, sampled or not,
holds without a correction. What floating point does to the far tails and the low bits of continuous noise (Mironov
2012) cannot happen: every outcome is an integer, and which one is decided exactly.

A draw is a sign and a tail probability of 63 random bits. Double precision finds the quantum, unless the interval that
those bits leave, widened by every rounding error on the way, reaches over the border of two quanta. Then mpmath
compares the borders' own tail probabilities, with more random bits until the interval lies on one side.
"""

from fractions import Fraction
from typing import Final

import numpy as np
from mpmath import MPContext
from numpy.typing import NDArray
from scipy.special import ndtri

from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

MAX_SIGMA: Final = 1 << 36
"""Quanta. Draws stay far below 2^53, and few of them are near a border."""

NDTRI_ERROR: Final = 2.0**-47
"""Assumed bound on scipy's `ndtri` over [2^-65, 1/2], in standard deviations. The tests find less than a fourth of it,
against mpmath; the draws are exact as long as it holds."""

_BLOCK: Final = 1 << 16
_WORD: Final = 64
# In standard deviations: ndtri itself, then 2^-48 for the tail's rounding, for sigma's, their product's and the sum's.
_MARGIN: Final = NDTRI_ERROR + 2.0**-48
# Half a step of the last random bit, relative to the tail, times Mills' ratio: at most sqrt(pi / 2) / 2 at the centre.
_HALF_STEP: Final = 0.7
_FLOOR: Final = 2.0**-50


def rounded_gaussian(sigma: float | Fraction, count: int, entropy: Entropy) -> NDArray[np.int64]:
    """`count` independent draws of round(N(0, sigma^2)), int64 (count,). sigma: quanta, taken as the exact rational.

    Takes 8 bytes a draw, and 8 more for each time that a draw cannot be decided. How long it takes tells how many
    draws were near a border, not which or on what side. Raises CallerFault OUT_OF_RANGE.
    """
    if not (0 < sigma <= MAX_SIGMA and count >= 0):
        raise CallerFault(
            Refusal.OUT_OF_RANGE, f"noise needs a deviation above 0 and at most {MAX_SIGMA} quanta"
        )
    exact, drawn = Fraction(sigma), np.empty(count, np.int64)
    for start in range(0, count, _BLOCK):
        block = drawn[start : start + _BLOCK]
        words = np.frombuffer(entropy(8 * block.size), "<u8", block.size)
        block[:] = _sizes(exact, words >> np.uint64(1), entropy)
        np.negative(block, out=block, where=(words & np.uint64(1)).astype(bool))
    return drawn


def _sizes(sigma: Fraction, tails: NDArray[np.uint64], entropy: Entropy) -> NDArray[np.int64]:
    """round(|N|) from its upper tail: the two-sided probability lies in [tail, tail + 1] / 2^63."""
    width = float(sigma)
    places = ndtri((tails + 0.5) * 2.0**-_WORD) * -width + 0.5
    sizes = np.floor(places)
    beyond = places - sizes
    with np.errstate(divide="ignore"):
        margins = width * (_MARGIN + _HALF_STEP / tails) + _FLOOR
    found: NDArray[np.int64] = sizes.astype(np.int64)
    for index in np.flatnonzero(~((beyond >= margins) & (beyond <= 1 - margins))):
        found[index] = _settled(sigma, int(tails[index]), entropy)
    return found


def _settled(sigma: Fraction, tail: int, entropy: Entropy) -> int:
    """The size of a draw whose one-sided tail begins with these 64 bits, with as many more as it takes."""
    bits = _WORD
    while (size := _decided(sigma, tail, bits)) is None:
        tail, bits = tail << _WORD | int.from_bytes(entropy(8), "little"), bits + _WORD
    return size


def _decided(sigma: Fraction, tail: int, bits: int) -> int | None:
    """The only size that tails in [tail, tail + 1] / 2^bits belong to; None where there are two, or nobody can say.

    Size k has the tails from Q((k + 1/2) / sigma) to Q((k - 1/2) / sigma), and size 0 all up to 1/2. Where to look is
    a guess that the two comparisons prove; they keep a distance that the working precision exceeds by far.
    """
    if tail == 0:
        return None
    exact = MPContext()
    exact.prec = 2 * bits + _WORD
    width = exact.mpf(sigma.numerator) / sigma.denominator * exact.sqrt(2)
    middle, step = exact.ldexp(2 * tail + 1, -bits - 1), exact.ldexp(1, -bits)
    size = int(exact.floor(width * exact.erfinv(1 - 2 * middle) + 0.5))
    slack = exact.ldexp(step, -_WORD)
    if exact.erfc((size + 0.5) / width) / 2 + slack > middle - step / 2:
        return None
    if size > 0 and exact.erfc((size - 0.5) / width) / 2 - slack < middle + step / 2:
        return None
    return size
