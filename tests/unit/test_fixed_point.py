"""Encoding: exact bias over all dither values, hard bounds, clipping after rounding, exact limbs."""

import tracemalloc
from fractions import Fraction
from math import ldexp
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crimson_protocol.entropy import Fill
from crimson_protocol.errors import CallerFault
from crimson_protocol.fixed_point import (
    BLOCK,
    Reals,
    clip_factor,
    decode,
    encode_into,
    fraction_bits,
    from_limbs,
    to_limbs,
)
from crimson_protocol.refusal import Refusal

VALUE_BITS = range(8, 25)
Kind = Any
finite32 = st.floats(-4.0, 4.0, width=32)


def random_fill(seed: int = 1) -> Fill:
    generator = np.random.default_rng(seed)

    def fill(buffer: memoryview) -> None:
        buffer[:] = generator.bytes(len(buffer))

    return fill


def constant_fill(byte: int) -> Fill:
    def fill(buffer: memoryview) -> None:
        buffer[:] = bytes([byte]) * len(buffer)

    return fill


def every_dither(bits: int) -> Fill:
    """Each f-bit number once, with the unused low bits set, which must not matter."""
    used = fraction_bits(bits)

    def fill(buffer: memoryview) -> None:
        words = (np.arange(1 << used, dtype=np.uint32) << (16 - used)) | ((1 << (16 - used)) - 1)
        buffer[:] = words.astype("<u2").tobytes()

    return fill


def encode(values: Reals, scale: float, value_bits: int, fill: Fill) -> NDArray[np.int32]:
    out = np.full(values.size, 0xDEADBEEF, np.uint32)
    encode_into(out, values, scale, fill, value_bits)
    return out.view(np.int32)


def mean_over_every_dither(value: float, scale: float, value_bits: int, kind: Kind) -> Fraction:
    values: Reals = np.full(1 << fraction_bits(value_bits), value, kind)
    encoded = encode(values, scale, value_bits, every_dither(value_bits))
    assert set(np.diff(encoded)) <= {0, 1}
    return Fraction(int(encoded.astype(np.int64).sum()), values.size)


@given(finite32, st.floats(0.01, 1.0), st.sampled_from(VALUE_BITS), st.sampled_from([np.float32, np.float64]))
def test_bias_is_within_its_bound(value: float, weight: float, value_bits: int, kind: Kind) -> None:
    scale = weight * ldexp(1.0, value_bits) / 4.0
    exact = Fraction(value) * Fraction(scale)
    mean = mean_over_every_dither(value, scale, value_bits, kind)
    product_rounding = 23 if kind is np.float32 else 52
    bound = Fraction(1, 2 ** (fraction_bits(value_bits) + 1)) + abs(exact) / 2**product_rounding
    assert abs(mean - exact) <= bound


def test_bias_bound_is_reached_not_exceeded() -> None:
    # Half of the finest step: the one place where rounding to f bits errs by all of 2^-(f+1).
    f = fraction_bits(16)
    assert mean_over_every_dither(2.0 ** -(f + 1), 1.0, 16, np.float64) == 0
    assert mean_over_every_dither(3 * 2.0 ** -(f + 1), 1.0, 16, np.float64) == Fraction(2, 2**f)


def test_fraction_bits() -> None:
    assert [fraction_bits(bits) for bits in (8, 15, 16, 20, 24)] == [15, 15, 14, 10, 6]
    for bits in (7, 25):
        with pytest.raises(CallerFault):
            fraction_bits(bits)


@pytest.mark.parametrize("value_bits", VALUE_BITS)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("byte", [0, 255])
def test_results_never_leave_the_range(value_bits: int, kind: type, byte: int) -> None:
    clip, limit = 0.7, 1 << value_bits
    edge: Reals = np.array([clip, -clip], kind)
    beyond: Reals = np.array([np.finfo(kind).max, np.finfo(kind).min, 1e9, -1e9, 0.70001, -0.70001], kind)
    values = np.concatenate([edge, np.nextafter(edge, kind(9)), np.nextafter(edge, kind(-9)), beyond])
    encoded = encode(values, limit / clip, value_bits, constant_fill(byte)).astype(np.int64)
    assert np.abs(encoded).max() == limit
    assert list(encoded[-6:]) == [limit, -limit] * 3


def test_whole_quanta_are_exact_and_zero_stays_zero() -> None:
    values = np.arange(-1000, 1001).astype(np.float32)
    for byte in (0, 255):
        assert np.array_equal(encode(values, 1.0, 16, constant_fill(byte)), values.astype(np.int32))


def test_negative_values_are_twos_complement() -> None:
    out = np.zeros(1, np.uint32)
    encode_into(out, np.array([-1.0]), 1.0, constant_fill(0), 16)
    assert out[0] == 2**32 - 1
    assert decode(out, 20)[0] == -1


def test_blocks_do_not_show() -> None:
    values = np.random.default_rng(3).normal(0, 1e-2, 2 * BLOCK + 77).astype(np.float32)
    whole = encode(values, 2.0**16, 16, random_fill())
    fill = random_fill()
    parts = [encode(values[at : at + BLOCK], 2.0**16, 16, fill) for at in range(0, values.size, BLOCK)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert encode(values[:0], 1.0, 16, fill).size == 0


def test_random_rounding_is_unbiased_and_stays_within_one_quantum() -> None:
    values = np.full(1_000_000, 0.3, np.float32)
    encoded = encode(values, 1.0, 16, random_fill())
    assert set(encoded) == {0, 1}
    assert abs(encoded.mean() - 0.3) < 4 * (0.3 * 0.7 / 1e6) ** 0.5 + 2**-15


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_values_that_are_not_finite_are_refused(bad: float, kind: Kind) -> None:
    values: Reals = np.zeros(BLOCK + 9, kind)
    values[BLOCK + 3] = bad
    for call in (lambda: encode(values, 1.0, 16, random_fill()), lambda: clip_factor(values, 1.0)):
        with pytest.raises(CallerFault) as refused:
            call()
        assert refused.value.code is Refusal.NOT_FINITE


def test_encoding_memory_does_not_grow_with_the_vector() -> None:
    values, out = np.ones(2_000_000, np.float32), np.zeros(2_000_000, np.uint32)
    tracemalloc.start()
    try:
        encode_into(out, values, 1.0, constant_fill(7), 16)
        assert tracemalloc.get_traced_memory()[1] < 2**20 + 2**18
    finally:
        tracemalloc.stop()


def exact_square_norm(values: Reals) -> Fraction:
    return sum((Fraction(float(value)) ** 2 for value in values), Fraction(0))


def clipped(update: Reals, clip: float) -> Reals:
    return np.multiply(update, update.dtype.type(clip_factor(update, clip)))


def test_norms_that_rounding_would_leave_above_the_clip() -> None:
    generator = np.random.default_rng(5)
    for _ in range(200):
        update = generator.normal(0, 1, 3).astype(np.float32)
        clip = float(generator.uniform(0.1, 0.9))
        assert exact_square_norm(clipped(update, clip)) <= Fraction(clip) ** 2


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=600),
    st.floats(1e-3, 1e3),
    st.sampled_from([np.float32, np.float64]),
)
def test_clipped_norm_is_at_most_the_clip_exactly(numbers: list[float], clip: float, kind: Kind) -> None:
    update: Reals = np.array(numbers, kind)
    before = update.copy()
    assert exact_square_norm(clipped(update, clip)) <= Fraction(clip) ** 2
    assert np.array_equal(update, before)
    if clip_factor(update, clip) != 1.0:
        # Next to nothing is given away.
        assert exact_square_norm(update) > Fraction(clip) ** 2 * (1 - Fraction(1, 2**13))
        assert float(exact_square_norm(clipped(update, clip))) ** 0.5 >= clip * (1 - 2**-14)


def test_values_whose_squares_underflow_still_count() -> None:
    update = np.full(1000, 1e-30, np.float32)
    clip = 0.9 * 1e-30 * 1000**0.5
    assert clip_factor(update, clip) < 0.9


def test_long_updates_are_summed_in_double_precision() -> None:
    update = np.full(3_000_000, 1e-3, np.float32)
    norm = float(np.float32(1e-3)) * 3_000_000**0.5
    assert clip_factor(update, norm * (1 + 2**-14)) == 1.0
    assert 1 - 2**-14 < clip_factor(update, norm * (1 - 1e-7)) < 1


@given(st.lists(st.integers(0, 2**32 - 1), max_size=50), st.integers(8, 32))
def test_decode_is_the_centred_lift(numbers: list[int], bits: int) -> None:
    lifted = decode(np.array(numbers, np.uint32), bits)
    assert lifted.dtype == np.int64
    half = 1 << (bits - 1)
    assert list(lifted) == [(number + half) % (1 << bits) - half for number in numbers]


def test_decode_of_several_blocks() -> None:
    words = np.arange(2 * BLOCK + 5, dtype=np.uint32)
    assert np.array_equal(decode(words, 32), words.astype(np.int64))


@given(st.lists(st.integers(-(2**94), 2**94), min_size=1, max_size=60), st.integers(8, 24))
def test_sums_of_limbs_are_sums_of_integers(counters: list[int], limb_bits: int) -> None:
    count = -(-96 // limb_bits)
    rows = [to_limbs(counter, limb_bits, count) for counter in counters]
    sums = [sum(column) for column in zip(*rows, strict=True)]
    assert from_limbs(sums, limb_bits) == sum(counters)


@given(st.integers(1, 20), st.integers(1, 6), st.data())
def test_limbs_are_small_and_only_the_last_is_signed(limb_bits: int, count: int, data: st.DataObject) -> None:
    half = 1 << (limb_bits * count - 1)
    value = data.draw(st.integers(-half, half - 1))
    *lower, top = to_limbs(value, limb_bits, count)
    assert len(lower) == count - 1
    assert all(0 <= limb < 1 << limb_bits for limb in lower)
    assert -(1 << (limb_bits - 1)) <= top < 1 << (limb_bits - 1)
    assert from_limbs([*lower, top], limb_bits) == value
    for outside in (-half - 1, half):
        with pytest.raises(CallerFault) as refused:
            to_limbs(outside, limb_bits, count)
        assert refused.value.code is Refusal.OUT_OF_RANGE


def test_callers_mistakes() -> None:
    values, out = np.zeros(4), np.zeros(4, np.uint32)
    unfit: Any
    for unfit in (np.zeros(5), np.zeros((2, 2)), np.zeros(4, np.float16), np.zeros(4, np.int32)):
        with pytest.raises(CallerFault):
            encode_into(out, unfit, 1.0, random_fill(), 16)
    with pytest.raises(CallerFault):
        encode_into(out.astype(np.uint64), values, 1.0, random_fill(), 16)
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(CallerFault):
            encode_into(out, values, scale, random_fill(), 16)
        with pytest.raises(CallerFault):
            clip_factor(values, scale)
    with pytest.raises(CallerFault):
        decode(out, 33)
    with pytest.raises(CallerFault):
        decode(out.reshape(2, 2), 32)
    with pytest.raises(CallerFault):
        to_limbs(0, 0, 1)
