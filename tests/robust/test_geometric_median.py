"""The geometric median against closed forms, the condition for a minimum, and a general minimiser."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from crimson_enclave.robust.rows import Rows
from crimson_enclave.robust.rules import geometric_median, median
from crimson_enclave.robust.weiszfeld import median_weights


def found(*points: tuple[float, ...]) -> np.ndarray:
    return geometric_median(Rows(np.array(points, np.float64)))


def test_an_equilateral_triangle_has_its_centre():
    np.testing.assert_allclose(found((0, 0), (2, 0), (1, 3**0.5)), [1, 3**-0.5], atol=1e-12)


def test_a_triangle_with_120_degrees_or_more_has_that_corner():
    np.testing.assert_array_equal(found((0, 0), (5, 0.1), (-4, 0.1)), [0, 0])
    # Exactly 120 degrees: both cases meet.
    np.testing.assert_allclose(found((0, 0), (1, 0), (-0.5, 0.75**0.5)), [0, 0], atol=1e-8)


def test_a_convex_quadrangle_has_the_crossing_of_its_diagonals():
    # (0,0)-(4,2) and (3,-1)-(1,3) cross at (2, 1).
    np.testing.assert_allclose(found((0, 0), (3, -1), (4, 2), (1, 3)), [2, 1], atol=1e-10)


def test_a_corner_inside_a_triangle_is_the_median():
    np.testing.assert_array_equal(found((0, 0), (10, 0), (0, 10), (2, 3)), [2, 3])


def test_the_mean_may_be_a_vector_that_is_not_the_median():
    # The mean of these is (0, 0), the last vector; the iteration must not stay there.
    points = np.array([(4, 0), (5, 0), (6, 0.5), (-15, -0.5), (0, 0)], np.float64)
    assert not points.mean(axis=0).any()
    np.testing.assert_array_equal(found(*points), [4, 0])


def test_the_iteration_leaves_a_vector_that_it_starts_on():
    # The mean of these is the last of them, and none of them is the median.
    points = np.array([(7, 3), (0, -4), (-4, -9), (-8, -9), (5, 19), (0, 0)], np.float64)
    assert not points.mean(axis=0).any()
    point = found(*points)
    away = points - point
    pull = (away / np.linalg.norm(away, axis=1)[:, None]).sum(axis=0)
    np.testing.assert_allclose(pull, 0, atol=1e-9)
    assert np.linalg.norm(point) > 1


@settings(deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=12))
def test_on_a_line_it_is_the_ordinary_median(values):
    rows = Rows(np.array(values, np.float64)[:, None])
    distinct = sorted(values)
    middle = distinct[(len(values) - 1) // 2], distinct[len(values) // 2]
    assert middle[0] - 1e-6 <= float(geometric_median(rows)[0]) <= middle[1] + 1e-6
    if len(set(values)) == len(values):
        assert float(geometric_median(rows)[0]) == pytest.approx(float(median(rows)[0]), abs=1e-9)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 20), st.integers(2, 8), st.sampled_from([1.0, 1e3, 1e6]))
def test_unit_vectors_towards_all_rows_cancel(seed, count, length, far):
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, length))
    values[: (count - 1) // 2] *= far
    point = geometric_median(Rows(values))
    away = values - point
    distances = np.linalg.norm(away, axis=1)
    near = distances < 1e-9 * np.median(distances)
    pull = np.linalg.norm((away[~near] / distances[~near, None]).sum(axis=0))
    assert pull <= near.sum() + 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_no_general_minimiser_does_better(seed):
    values = np.random.default_rng(seed).standard_t(2, size=(15, 6))

    def total(point: np.ndarray) -> float:
        return float(np.linalg.norm(values - point, axis=1).sum())

    best = minimize(total, values.mean(axis=0), method="BFGS", options={"gtol": 1e-10})
    point = geometric_median(Rows(values))
    assert total(point) <= best.fun * (1 + 1e-12)
    np.testing.assert_allclose(point, best.x, atol=1e-5)


def test_weights_are_shares_of_one():
    weights = median_weights(Rows(np.random.default_rng(2).normal(size=(9, 4))).squared)
    assert weights.min() > 0
    assert weights.sum() == pytest.approx(1.0)
    assert weights.max() < 0.5
