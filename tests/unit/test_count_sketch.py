"""Count sketches: an independent construction, linearity to the bit, unbiased estimates, what a lie cannot hide."""

from hashlib import shake_256
from itertools import pairwise
from struct import unpack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.sketch import (
    LANES_PER_HASH,
    LARGEST_LANE,
    ROWS,
    Lanes,
    equal_modulo,
    norm_estimate,
    row_width,
    sketch,
)

SEED = bytes(range(32))


def slow_sketch(lanes: list[int], seed: bytes, buckets: int) -> list[int]:
    """The definition of docs/PROTOCOL.md lane by lane, in Python's integers."""
    width = buckets // 4
    cells = [0] * buckets
    for row in range(4):
        for block in range(-(-len(lanes) // 65536)):
            head = b"crimson/1/sketch" + row.to_bytes(4, "big") + block.to_bytes(4, "big") + seed
            part = lanes[65536 * block : 65536 * (block + 1)]
            words = unpack(f"<{len(part)}H", shake_256(head).digest(2 * len(part)))
            for lane, word in zip(part, words, strict=True):
                sign = -1 if word & width else 1
                cells[row * width + word % width] += sign * lane
    return cells


def drawn(count: int, seed: int = 1, size: int = 1 << 17) -> Lanes:
    return np.random.default_rng(seed).integers(-size, size, count)


@given(
    st.lists(st.integers(-LARGEST_LANE, LARGEST_LANE), max_size=80),
    st.binary(min_size=32, max_size=32),
    st.sampled_from([8, 64, 256]),
)
def test_it_is_the_definition(lanes: list[int], seed: bytes, buckets: int) -> None:
    assert list(sketch(np.array(lanes, np.int64), seed, buckets)) == slow_sketch(lanes, seed, buckets)


def test_it_is_the_definition_beyond_one_hash() -> None:
    lanes = drawn(LANES_PER_HASH + 300, size=LARGEST_LANE)
    assert list(sketch(lanes, SEED, 16)) == slow_sketch([int(lane) for lane in lanes], SEED, 16)


@given(st.lists(st.integers(0, LANES_PER_HASH + 9), max_size=5))
@settings(max_examples=20)
def test_blocks_do_not_show(cuts: list[int]) -> None:
    lanes = drawn(2 * LANES_PER_HASH + 77)
    edges = sorted({0, lanes.size, *cuts})
    blocks = (lanes[start:stop] for start, stop in pairwise(edges))
    assert np.array_equal(sketch(blocks, SEED, 256), sketch(lanes, SEED, 256))


def test_largest_lanes_are_summed_exactly() -> None:
    lanes = np.full(LANES_PER_HASH, LARGEST_LANE, np.int64)
    lanes[::7] -= 1
    total = sketch(lanes, SEED, 8)
    assert list(total) == slow_sketch([int(lane) for lane in lanes], SEED, 8)


@given(st.integers(0, 2**32), st.integers(2, 30), st.sampled_from([8, 20, 32]))
@settings(max_examples=30)
def test_sketches_add_up_modulo_the_ring(seed: int, nodes: int, ring_bits: int) -> None:
    updates = [drawn(500, seed + node, 1 << 24) for node in range(nodes)]
    said = np.sum([sketch(update, SEED, 64) for update in updates], axis=0)
    # What is opened is the sum modulo the ring, lifted: other integers, the same sketch modulo the ring.
    half = 1 << (ring_bits - 1)
    opened = (np.sum(updates, axis=0) + half) % (1 << ring_bits) - half
    assert equal_modulo(said, sketch(opened, SEED, 64), ring_bits)
    opened[seed % 500] += 1
    assert not equal_modulo(said, sketch(opened, SEED, 64), ring_bits)


def test_sums_that_wrap_around_int64_still_compare() -> None:
    cells = np.array([2**63 - 1, -(2**63), 5, 0], np.int64)
    with np.errstate(over="ignore"):
        assert equal_modulo(cells + cells, 2 * cells, 32)
    assert equal_modulo(cells, cells % 2**20, 20)
    assert not equal_modulo(cells, cells + 2**19, 20)
    assert not equal_modulo(cells, -cells, 20)


def test_every_lane_shows_once_in_each_row() -> None:
    for lane in (0, 1, 4999):
        unit = np.zeros(5000, np.int64)
        unit[lane] = 1
        cells = sketch(unit, SEED, 128).reshape(ROWS, 32)
        assert list(np.abs(cells).sum(axis=1)) == [1] * ROWS


def test_places_and_signs_are_uniform_and_rows_differ() -> None:
    # One cell of 64 in each row: 4 * 64 * 2 equally likely words; chi-square over 20,000 lanes.
    counts = np.zeros((ROWS, 64, 2))
    rows = []
    for row in range(ROWS):
        words = np.frombuffer(
            shake_256(b"crimson/1/sketch" + row.to_bytes(4, "big") + bytes(4) + SEED).digest(40_000), "<u2"
        )
        rows.append(words & 127)
        np.add.at(counts[row], (words & 63, (words >> 6) & 1), 1)
    expected = 20_000 / 128
    for row in range(ROWS):
        # 127 degrees of freedom: mean 127, standard deviation 15.9; four of them.
        assert ((counts[row] - expected) ** 2 / expected).sum() < 127 + 4 * 15.9
        assert sum((rows[row] == other).mean() > 0.02 for other in rows) == 1


def test_norms_are_unbiased_with_the_stated_spread() -> None:
    update = drawn(3000, size=1000)
    squares = [norm_estimate(sketch(update, bytes([number]) * 32, 256)) ** 2 for number in range(250)]
    exact = float(np.vecdot(update, update))
    # Relative variance 2 / m, so 250 estimates average to within 4 * sqrt(2 / 256 / 250) of the truth.
    assert abs(np.mean(squares) / exact - 1) < 4 * (2 / 256 / 250) ** 0.5
    assert 0.8 < np.std(squares) / exact / (2 / 256) ** 0.5 < 1.2


def test_dot_products_are_unbiased() -> None:
    one, other = drawn(2000, 1, 1000), drawn(2000, 2, 1000) + drawn(2000, 1, 1000)
    products = []
    for number in range(250):
        seed = bytes([number]) * 32
        products.append(float(np.dot(sketch(one, seed, 256), sketch(other, seed, 256))) / ROWS)
    exact, scale = float(np.dot(one, other)), float(np.linalg.norm(one) * np.linalg.norm(other))
    assert abs(np.mean(products) - exact) < 4 * scale * (2 / 256 / 250) ** 0.5


def test_another_seed_gives_another_sketch() -> None:
    update = drawn(1000)
    first = sketch(update, SEED, 64)
    assert not np.array_equal(first, sketch(update, SEED[::-1], 64))
    assert np.array_equal(sketch(update[:0], SEED, 64), np.zeros(64))


def test_callers_mistakes() -> None:
    lanes = drawn(10)
    for buckets in (0, 4, 6, 12, 100, 255, 257, 4 << 16, -8):
        with pytest.raises(CallerFault) as refused:
            sketch(lanes, SEED, buckets)
        assert refused.value.code is Refusal.OUT_OF_RANGE
    assert [row_width(buckets) for buckets in (8, 128, 4096)] == [2, 32, 1024]
    for seed in (b"", SEED[1:], SEED + b"x"):
        with pytest.raises(CallerFault) as refused:
            sketch(lanes, seed, 64)
        assert refused.value.code is Refusal.WRONG_LENGTH
    for unfit in (lanes.astype(np.int32), lanes.astype(float), lanes.reshape(2, 5)):
        with pytest.raises(CallerFault) as refused:
            sketch(unfit, SEED, 64)
        assert refused.value.code is Refusal.MALFORMED
    for lane in (LARGEST_LANE + 1, -LARGEST_LANE - 1, -(2**63)):
        with pytest.raises(CallerFault) as refused:
            sketch(np.array([0, lane]), SEED, 64)
        assert refused.value.code is Refusal.OUT_OF_RANGE
    cells = sketch(lanes, SEED, 64)
    for bits in (7, 33):
        with pytest.raises(CallerFault):
            equal_modulo(cells, cells, bits)
    with pytest.raises(CallerFault):
        equal_modulo(cells, cells[:32], 32)
