"""The rounded Gaussian against its exact probabilities, by mpmath and by an independent discrete Gaussian."""

import os
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import floor, sqrt

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri

from crimson_enclave.privacy import noise
from crimson_enclave.privacy.noise import MAX_SIGMA, NDTRI_ERROR, rounded_gaussian
from crimson_protocol.errors import CallerFault

# Far enough out that a correct sampler fails one run in a million, over all tests of this file.
RARE = 1e-7
SCALES = (0.7, 30.0, 1e5)
LOW = (1 << 64) - 1


def seeded(seed: int) -> Callable[[int], bytes]:
    return np.random.default_rng(seed).bytes


def recorded(words: Sequence[int]) -> Callable[[int], bytes]:
    """The given 64-bit words, one after the other, and an error when they are used up."""
    stream = b"".join(word.to_bytes(8, "little") for word in words)
    place = 0

    def entropy(count: int) -> bytes:
        nonlocal place
        assert place + count <= len(stream), "more random bits were asked for than the test foresees"
        place += count
        return stream[place - count : place]

    return entropy


def mass(size: int, sigma: float) -> float:
    """P(k), as the difference of two upper tails, so that far values keep their digits."""
    size = abs(size)
    return float(stats.norm.sf((size - 0.5) / sigma) - stats.norm.sf((size + 0.5) / sigma))


def border(size: int, sigma: float, bits: int) -> int:
    """The upper tail beyond size + 1/2 in units of 2^-bits, rounded down: at least 300 bits of it are right."""
    with mpmath.workprec(bits + 300):
        tail = mpmath.erfc((mpmath.mpf(size) + 0.5) / (mpmath.mpf(sigma) * mpmath.sqrt(2))) / 2
        return int(mpmath.floor(mpmath.ldexp(tail, bits)))


@pytest.mark.parametrize("sigma", [0.3, 0.7, 3.0])
def test_every_value_is_as_likely_as_the_formula_says(sigma):
    count = 1_000_000
    drawn = rounded_gaussian(sigma, count, seeded(1))
    reach = max(size for size in range(100) if mass(size, sigma) * count > 10)
    expected = [mass(size, sigma) * count for size in range(-reach, reach + 1)]
    found = [int((drawn == size).sum()) for size in range(-reach, reach + 1)]
    beyond = 2 * stats.norm.sf((reach + 0.5) / sigma) * count
    found, expected = [*found, int((abs(drawn) > reach).sum())], [*expected, beyond]
    assert stats.chisquare(found, np.array(expected) / sum(expected) * count).pvalue > RARE


@pytest.mark.parametrize("sigma", SCALES)
def test_equally_likely_cells_are_equally_full(sigma):
    """Chi-square over 200 cells whose exact probabilities come from their integer borders."""
    count = 1_000_000
    drawn = rounded_gaussian(sigma, count, seeded(2))
    borders = np.unique(np.rint(stats.norm.ppf(np.arange(1, 200) / 200) * sigma)) + 0.5
    expected = np.diff([0, *stats.norm.cdf(borders / sigma), 1])
    found = np.bincount(np.searchsorted(borders, drawn), minlength=borders.size + 1)
    assert stats.chisquare(found, expected * count).pvalue > RARE


@pytest.mark.parametrize("sigma", SCALES)
def test_largest_distance_to_the_distribution_function(sigma):
    """Kolmogorov-Smirnov at the borders k + 1/2. For steps the usual p-value is too large: it never fails wrongly."""
    count = 400_000
    drawn = np.sort(rounded_gaussian(sigma, count, seeded(3)))
    values = np.unique(drawn)
    share = np.searchsorted(drawn, values, side="right") / count
    distance = float(abs(share - stats.norm.cdf((values + 0.5) / sigma)).max())
    assert stats.kstwobign.sf(distance * sqrt(count)) > RARE


@pytest.mark.parametrize("sigma", SCALES)
def test_moments(sigma):
    """Rounding adds 1/12 to the variance, up to 4 exp(-2 pi^2 sigma^2) (sigma^2 + ...), by Poisson summation."""
    count = 1_000_000
    drawn = rounded_gaussian(sigma, count, seeded(4)).astype(float)
    reach = floor(12 * sigma) + 2
    sizes = np.arange(-reach, reach + 1) if sigma < 100 else None
    if sizes is None:
        second, fourth = sigma**2 + 1 / 12, 3 * sigma**4
    else:
        weights = np.array([mass(int(size), sigma) for size in sizes])
        second, fourth = float(weights @ sizes**2), float(weights @ sizes.astype(float) ** 4)
    limit = stats.norm.isf(RARE)
    assert abs(drawn.mean()) < limit * sqrt(second / count)
    assert abs((drawn**2).mean() - second) < limit * sqrt((fourth - second**2) / count)
    skew = (drawn**3).mean() / second**1.5
    assert abs(skew) < limit * sqrt(16 / count)


@pytest.mark.parametrize("sigma", SCALES)
@pytest.mark.parametrize("deviations", [3, 4])
def test_both_tails_hold_their_share(sigma, deviations):
    count = 1_000_000
    drawn = rounded_gaussian(sigma, count, seeded(5))
    size = floor(deviations * sigma)
    share = stats.norm.sf((size + 0.5) / sigma)
    for found in (int((drawn > size).sum()), int((drawn < -size).sum())):
        assert stats.binomtest(found, count, share).pvalue > RARE


@pytest.mark.parametrize("sigma", [0.7, 30.0, 1e5, 2.0**30])
@pytest.mark.parametrize("deviations", [0, 0.5, 1, 3, 6])
def test_values_change_exactly_at_the_border(sigma, deviations):
    """The last word that belongs to one value, the first that belongs to the next, and the one between, which more
    words decide. A word's lowest bit is the sign; above it stands the tail."""
    size = floor(deviations * sigma)
    exact = border(size, sigma, 192)
    words = [exact >> 128 << 1, exact >> 64 & LOW, exact & LOW]
    assert rounded_gaussian(sigma, 1, recorded([words[0] + 2]))[0] == size
    assert rounded_gaussian(sigma, 1, recorded([words[0] - 2]))[0] == size + 1
    assert rounded_gaussian(sigma, 1, recorded([words[0], words[1] + 1]))[0] == size
    assert rounded_gaussian(sigma, 1, recorded([words[0], words[1] - 1]))[0] == size + 1
    assert rounded_gaussian(sigma, 1, recorded([*words[:2], words[2] + 1]))[0] == size
    assert rounded_gaussian(sigma, 1, recorded([*words[:2], words[2] - 1]))[0] == size + 1


@pytest.mark.parametrize("sigma", [30.0, 1e5, 2.0**30])
@pytest.mark.parametrize("deviations", [9, 9.3, 12])
def test_values_beyond_the_first_words_reach_change_exactly_too(sigma, deviations):
    """One word spans many values there, or none but zeros are left in it: a second and a third decide."""
    size = floor(deviations * sigma)
    exact = border(size, sigma, 192)
    for step, expected in ((1, size), (-1, size + 1)):
        words = [exact >> 128 << 1, exact >> 64 & LOW, (exact & LOW) + step]
        assert rounded_gaussian(sigma, 1, recorded(words))[0] == expected


def test_the_sign_bit_mirrors_every_value():
    words = [int.from_bytes(seeded(6)(8), "little") & ~1 for _ in range(1000)]
    plus = rounded_gaussian(40.0, 1000, recorded(words))
    minus = rounded_gaussian(40.0, 1000, recorded([word | 1 for word in words]))
    assert (plus == -minus).all() and (plus >= 0).all() and plus.any()


@pytest.mark.parametrize("sigma", [0.7, 30.0, 1e5, 2.0**33, Fraction(1, 3)])
def test_double_precision_and_exact_decisions_agree(sigma, monkeypatch):
    """With a margin that doubts everything, every draw is decided by mpmath: the same values from the same bits."""
    quick = rounded_gaussian(sigma, 300, seeded(7))
    monkeypatch.setattr(noise, "_FLOOR", 1.0)
    slow = rounded_gaussian(sigma, 300, seeded(7))
    assert (quick == slow).all()


def test_the_tail_beyond_all_first_bits_is_reached():
    """63 zero bits: the draw lies beyond 9 deviations, and the next bits say where."""
    size = rounded_gaussian(1e3, 1, recorded([0, 1 << 63]))[0]
    with mpmath.workprec(200):
        expected = mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * mpmath.mpf(2) ** -65)
    assert size == int(mpmath.floor(expected * 1000 + 0.5)) > 9000


def test_scipys_inverse_is_as_good_as_assumed():
    """Over its whole range, and densely where cephes changes its approximation: at exp(-2), exp(-32) and 1/2."""
    chance = np.random.default_rng(8)
    tails = np.concatenate(
        [
            2.0 ** -chance.uniform(1, 65, 1200),
            chance.uniform(0, 0.5, 400),
            np.exp(-2) * (1 + chance.uniform(-1e-3, 1e-3, 200)),
            np.exp(-32) * (1 + chance.uniform(-1e-3, 1e-3, 200)),
            0.5 - 2.0 ** -chance.uniform(2, 53, 200),
            [0.5, 2.0**-64],
        ]
    )
    found = ndtri(tails)
    with mpmath.workprec(200):
        exact = [mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(float(tail)) - 1) for tail in tails]
        errors = [
            abs(float(mpmath.mpf(float(value)) - truth)) for value, truth in zip(found, exact, strict=True)
        ]
    assert 0 < max(errors) < NDTRI_ERROR / 2


def test_a_discrete_gaussian_of_another_library_agrees_where_the_two_are_alike():
    """At sigma 200 the two distributions differ by far less than 10^6 draws can show (opendp, i64, exact)."""
    dp = pytest.importorskip("opendp.prelude")
    dp.enable_features("contrib")
    count, sigma = 20_000, 200.0
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    theirs = np.array(dp.m.make_gaussian(*space, scale=sigma)([0] * count))
    ours = rounded_gaussian(sigma, 200_000, seeded(9))
    assert stats.ks_2samp(ours, theirs).pvalue > RARE
    sizes = np.arange(-2000, 2001)
    discrete = np.exp(-(sizes**2) / (2 * sigma**2))
    discrete /= discrete.sum()
    rounded = np.array([mass(int(size), sigma) for size in sizes])
    assert abs(discrete - rounded).sum() / 2 < 1e-5


def test_a_million_draws_take_less_than_two_seconds():
    started = time.process_time()
    rounded_gaussian(1e5, 1_000_000, os.urandom)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("sigma", [0, -1.0, float("nan"), float("inf"), MAX_SIGMA + 1])
def test_a_deviation_that_makes_no_sense_is_refused(sigma):
    with pytest.raises(CallerFault):
        rounded_gaussian(sigma, 1, seeded(0))


def test_blocks_are_drawn_one_after_the_other():
    """More draws than a block holds, from one stream, are the draws of its parts."""
    whole, parts = seeded(10), seeded(10)
    together = rounded_gaussian(5.0, (1 << 16) + 100, whole)
    apart = np.concatenate([rounded_gaussian(5.0, 1 << 16, parts), rounded_gaussian(5.0, 100, parts)])
    assert (together == apart).all()
    assert rounded_gaussian(5.0, 0, recorded([])).shape == (0,)
