"""Sampling, clipping and adding record by record: what the accountant is told must hold to the last bit."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crimson_node.data.rows import SurvivalRows
from crimson_node.learning import record_privacy
from crimson_node.learning.hazard import HazardModel
from crimson_node.learning.ranges import scaled_by_ranges
from crimson_node.learning.record_privacy import clipped, clipped_sum, poisson_sample, private_change
from crimson_protocol.errors import CallerFault

ANY = st.floats(width=64)
CLIPS = st.one_of(st.floats(1e-6, 1e6), st.sampled_from([1.0, 0.1, 1 / 3, 2.0**-20]))


def square(vector) -> Fraction:
    """The squared norm of float64 values, exactly."""
    return sum((Fraction(float(value)) ** 2 for value in vector), Fraction(0))


def words(*values: int):
    """An entropy that gives these 32-bit words, and nothing beyond them."""
    left = list(values)

    def entropy(count: int) -> bytes:
        taken = [left.pop(0) for _ in range(count // 4)]
        return np.array(taken, dtype="<u4").tobytes()

    return entropy


def random_rows(seed: int, height: int, width: int = 4) -> SurvivalRows:
    random = np.random.default_rng(seed)
    features = random.uniform(-1, 1, size=(height, width))
    event = random.random(height) < 0.5
    return SurvivalRows(features, random.uniform(0, 8, height), event, np.ones(height, dtype=bool))


@settings(deadline=None, max_examples=300)
@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=ANY), CLIPS)
def test_no_clipped_record_is_longer_than_the_clip(slopes, clip) -> None:
    for row in clipped(slopes, clip):
        assert square(row) <= Fraction(clip) ** 2


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.floats(1e-3, 1e3))
def test_clipping_shortens_and_does_not_turn(seed, width, clip) -> None:
    slopes = np.random.default_rng(seed).normal(size=(5, width)) * clip * 3
    norms = np.linalg.norm(slopes, axis=1, keepdims=True)
    expected = slopes * np.minimum(1.0, clip / norms)
    # Cutting to the grid moves each value by at most 2^-29 of the clip.
    assert np.abs(clipped(slopes, clip) - expected).max() <= clip * 2.0**-29


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_record_that_is_not_finite_counts_as_zero(bad) -> None:
    found = clipped(np.array([[bad, 1.0], [0.25, 0.5]]), 1.0)
    assert found.tolist() == [[0.0, 0.0], [0.25, 0.5]]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 60), st.booleans(), CLIPS)
def test_one_record_changes_the_sum_by_at_most_the_clip(seed, height, network, clip) -> None:
    """Exactly, with slopes of the product's own models: the difference of two float64 sums is taken as a fraction."""
    model = HazardModel(4, np.array([2.0, 5.0]), (3,) if network else ())
    rows, theta = random_rows(seed, height), np.random.default_rng(seed).normal(size=model.parameters) * 3
    everyone = np.arange(height)

    def slopes(places):
        return model.record_gradients(theta, rows.at(places))

    with_it = clipped_sum(slopes, everyone, model.parameters, clip)
    gone = seed % height
    without = clipped_sum(slopes, np.delete(everyone, gone), model.parameters, clip)
    moved = [Fraction(float(a)) - Fraction(float(b)) for a, b in zip(with_it, without, strict=True)]
    assert sum(value**2 for value in moved) <= Fraction(clip) ** 2


def test_the_bound_is_reached() -> None:
    slopes = np.full((3, 7), 5.0)
    total = clipped_sum(lambda places: slopes[places], np.arange(3), 7, 0.7)
    assert np.linalg.norm(total) == pytest.approx(3 * 0.7, rel=1e-7)


def test_the_sum_is_exact_in_any_order_and_any_blocks(monkeypatch) -> None:
    slopes = np.random.default_rng(3).normal(size=(500, 6))
    exact = [sum(Fraction(float(v)) for v in column) for column in clipped(slopes, 0.9).T]

    def total(order):
        return clipped_sum(lambda places: slopes[places], order, 6, 0.9)

    assert [Fraction(float(value)) for value in total(np.arange(500))] == exact
    assert total(np.random.default_rng(4).permutation(500)).tobytes() == total(np.arange(500)).tobytes()
    whole = total(np.arange(500))
    monkeypatch.setattr(record_privacy, "_BLOCK", 20)
    heights: list[int] = []

    def counted(places):
        heights.append(len(places))
        return slopes[places]

    assert clipped_sum(counted, np.arange(500), 6, 0.9).tobytes() == whole.tobytes()
    assert max(heights) == 3 and sum(heights) == 500


def test_a_word_below_the_probability_is_in() -> None:
    # 299,999 and 1,299,999 leave 299,999 modulo a million; 300,000 is the first one out.
    entropy = words(299_999, 300_000, 1_299_999, 0, 999_999)
    assert poisson_sample(5, 300_000, entropy).tolist() == [0, 2, 3]


def test_words_beyond_the_last_whole_million_are_drawn_again() -> None:
    last_even = 4_294 * 1_000_000
    entropy = words(last_even, last_even - 1, 2**32 - 1, 5, last_even + 7, 700_000)
    # Places 0 and 2 are drawn again; place 0 a second time.
    assert poisson_sample(3, 500_000, words(last_even, 0, 2**32 - 1, last_even, 3, 9)).tolist() == [0, 1, 2]
    assert poisson_sample(3, 500_000, entropy).tolist() == [0]


def test_nobody_and_everybody() -> None:
    random = np.random.default_rng(0)
    assert not poisson_sample(1000, 0, random.bytes).size
    assert poisson_sample(1000, 1_000_000, random.bytes).tolist() == list(range(1000))
    assert not poisson_sample(0, 500_000, random.bytes).size


def test_sizes_of_samples_are_binomial_and_places_independent() -> None:
    random, samples = np.random.default_rng(7), np.zeros((4000, 50), dtype=bool)
    for sample in samples:
        sample[poisson_sample(50, 100_000, random.bytes)] = True
    sizes = samples.sum(axis=1)
    assert abs(sizes.mean() - 5) < 5 * np.sqrt(4.5 / 4000)
    # Var(s²) of a binomial with np = 5 is close to 2 · 4.5² / n.
    assert abs(sizes.var() - 4.5) < 5 * 4.5 * np.sqrt(2 / 4000)
    assert np.abs(samples.mean(axis=0) - 0.1).max() < 5 * np.sqrt(0.09 / 4000)
    neighbours = (samples[:, 1:] & samples[:, :-1]).mean(axis=0)
    assert np.abs(neighbours - 0.01).max() < 5 * np.sqrt(0.0099 / 4000)


def test_a_change_is_minus_the_sum_over_the_sample_and_over_no_other_row() -> None:
    slopes, asked = np.eye(4) * 0.5, []

    def spied(places):
        asked.extend(places.tolist())
        return slopes[places]

    change = private_change(spied, 4, 4, 1.0, 500_000, words(0, 999_999, 499_999, 500_000))
    assert change.tolist() == [-0.5, 0.0, -0.5, 0.0]
    assert asked == [0, 2]


def test_an_empty_sample_is_zero() -> None:
    change = private_change(
        lambda places: np.ones((len(places), 3)), 4, 3, 1.0, 0, np.random.default_rng(0).bytes
    )
    assert change.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan"), float("inf")])
def test_a_clip_that_bounds_nothing_is_refused(clip) -> None:
    with pytest.raises(CallerFault):
        clipped_sum(lambda places: np.ones((len(places), 2)), np.arange(2), 2, clip)


def test_a_probability_that_is_none_and_a_sample_too_large_are_refused() -> None:
    for probability in (-1, 1_000_001):
        with pytest.raises(CallerFault):
            poisson_sample(3, probability, np.random.default_rng(0).bytes)
    with pytest.raises(CallerFault):
        clipped_sum(lambda places: np.ones((len(places), 1)), np.arange(2**22 + 1), 1, 1.0)


def test_ranges_scale_numeric_columns_and_hold_them() -> None:
    features = np.array([[0.0, 5.0, 1.0], [100.0, 20.0, 0.0], [130.0, -9.0, 1.0], [25.0, 10.0, 0.0]])
    rows = random_rows(0, 4).with_features(features)
    scaled = scaled_by_ranges(rows, [(0.0, 100.0), (0.0, 20.0)])
    assert scaled.features.tolist() == [[-1, -0.5, 1], [1, 1, 0], [1, -1, 1], [-0.5, 0, 0]]
    assert scaled.time is rows.time and features[2, 0] == 130.0
    assert scaled_by_ranges(rows, []).features.tolist() == features.tolist()


@pytest.mark.parametrize("ranges", [[(1.0, 1.0)], [(2.0, 1.0)], [(0.0, float("inf"))], [(0.0, 1.0)] * 5])
def test_ranges_that_are_none_are_refused(ranges) -> None:
    with pytest.raises(CallerFault):
        scaled_by_ranges(random_rows(0, 4), ranges)
