"""The norm bound: no honest bucket is beyond it, whatever rounding did; what is projected lies within."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crimson_enclave.robust.bounds import exceeding, lengths, project, projection, rounding_slack
from crimson_enclave.robust.rows import BLOCK, Rows
from crimson_protocol.errors import CallerFault
from crimson_protocol.fixed_point import clip_factor, encode_into

CLIP, VALUE_BITS = 0.75, 12


def encoded(update: np.ndarray, share: float, dither: int) -> tuple[np.ndarray, int]:
    """An honest node's lanes in quanta, as the node computes them, and its weight lane."""
    scale = clip_factor(update, CLIP) * share * 2**VALUE_BITS / CLIP
    words = np.empty(update.size, np.uint32)

    def fill(buffer: memoryview) -> None:
        buffer[:] = bytes([dither]) * len(buffer)

    encode_into(words, update, scale, fill, VALUE_BITS)
    return words.view(np.int32).astype(np.int64), round(share * 2**VALUE_BITS)


def bucket_mean(nodes: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    weight = sum(weight for _, weight in nodes)
    mean = sum(lanes for lanes, _ in nodes) * (CLIP / weight)
    return mean[None], np.array([len(nodes)]), np.array([weight])


@given(
    st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([1, 10, 1000]), st.sampled_from([0.01, 0.3, 1.0]),
    st.sampled_from([0, 255]), st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
def test_no_honest_bucket_is_beyond(seed, nodes, length, share, dither, kind):
    update = np.abs(np.random.default_rng(seed).normal(size=length) * 9).astype(kind)
    if dither == 0:
        update = -update
    values, accepted, weights = bucket_mean([encoded(update, share, dither)] * nodes)
    radius = CLIP * (1 + rounding_slack(accepted, weights, length))
    assert not exceeding(values, radius).any()


def test_rounding_alone_may_come_near_the_slack():
    # An update at the clip whose every lane is just above one quantum and rounded up to two, and a weight rounded down.
    length, share = 10_000, 100.49 / 2**VALUE_BITS
    update = np.full(length, CLIP / length**0.5)
    values, accepted, weights = bucket_mean([encoded(update, share, 255)])
    slack = float(rounding_slack(accepted, weights, length)[0])
    excess = float(lengths(Rows(values))[0]) / CLIP - 1
    assert 0.98 * slack < excess < slack


def test_who_does_not_clip_is_beyond():
    update = np.ones(1000)
    lanes, weight = encoded(update, 1.0, 128)
    values, accepted, weights = bucket_mean([(lanes, weight)] * 3 + [(lanes * 10, weight)])
    assert exceeding(values, CLIP * (1 + rounding_slack(accepted, weights, 1000))).tolist() == [True]


def test_a_bucket_without_weight_has_no_mean():
    with pytest.raises(CallerFault):
        rounding_slack(np.array([2, 2]), np.array([5, 0]), 10)


def test_lengths_run_over_all_blocks():
    values = np.ones((2, BLOCK * 2 + 1))
    values[1] *= 2
    expected = (BLOCK * 2 + 1) ** 0.5
    np.testing.assert_allclose(lengths(Rows(values)), [expected, 2 * expected])
    np.testing.assert_allclose(lengths(Rows(values), values[0]), [0, expected])
    assert exceeding(values, expected * 1.5).tolist() == [False, True]
    assert exceeding(values, np.array([1.0, 9e9])).tolist() == [True, False]


@given(st.integers(0, 10**6), st.floats(1e-6, 1e6))
def test_projection_ends_within_the_ball_and_changes_nothing_inside(seed, radius):
    random = np.random.default_rng(seed)
    values = random.normal(size=(5, 7)) * radius * 10.0 ** random.integers(-3, 4, (5, 1))
    inside = ~exceeding(values, radius)
    moved = project(values, radius)
    assert not exceeding(moved, radius).any()
    np.testing.assert_array_equal(moved[inside], values[inside])
    np.testing.assert_allclose(lengths(Rows(moved))[~inside], radius, rtol=1e-12)
    outside = values[~inside]
    np.testing.assert_allclose(
        moved[~inside] / radius, outside / np.linalg.norm(outside, axis=1)[:, None], atol=1e-12
    )


def test_projection_in_place():
    values = np.array([[3.0, 4.0], [0.1, 0.0]])
    assert project(values, 1.0, out=values) is values
    np.testing.assert_allclose(values, [[0.6, 0.8], [0.1, 0.0]])


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ball_without_a_radius_is_refused(radius):
    with pytest.raises(CallerFault):
        projection(np.ones(2), radius)
