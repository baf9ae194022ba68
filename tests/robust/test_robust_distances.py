"""Distances from inner products are exact where rules need them, also beside vectors that lie very far off."""

import numpy as np
import pytest

from crimson_enclave.robust.distances import mixed_distances, squared_distances
from crimson_enclave.robust.mixing import mixed


def direct(values: np.ndarray) -> np.ndarray:
    return np.square(values[:, None] - values[None]).sum(axis=2)


@pytest.mark.parametrize("far", [1.0, 1e4, 1e8])
@pytest.mark.parametrize("first", [True, False])
def test_far_vectors_do_not_blur_near_ones(far, first):
    random = np.random.default_rng(1)
    values = random.normal(size=(9, 40))
    bad = slice(0, 4) if first else slice(5, 9)
    values[bad] += far
    good = np.ones(9, bool)
    good[bad] = False
    expected, found = direct(values), squared_distances(values)
    np.testing.assert_allclose(found[good][:, good], expected[good][:, good], rtol=1e-10)
    np.testing.assert_allclose(found[good][:, ~good], expected[good][:, ~good], rtol=1e-10)


def test_a_common_offset_does_not_blur():
    values = np.random.default_rng(2).normal(size=(6, 30))
    np.testing.assert_allclose(squared_distances(values + 1e6), direct(values + 1e6), rtol=1e-9)
    # The same without moving the origin loses everything: the test would notice.
    lifted = values + 1e8
    gram = lifted @ lifted.T
    naive = np.diag(gram)[:, None] + np.diag(gram)[None] - 2 * gram
    assert np.abs(naive - direct(lifted)).max() > 1


def test_equal_rows_have_no_distance():
    values = np.random.default_rng(3).normal(size=(5, 1000)) * 1e5
    values[3] = values[1]
    found = squared_distances(values)
    assert found[1, 3] == found[3, 1] == 0
    assert np.count_nonzero(found) == 18
    assert not np.diagonal(found).any()
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("seed", range(20))
def test_what_rounding_leaves_is_no_distance(seed):
    # The last rows differ by less than their inner products can tell: never a negative number, whose root is none.
    random = np.random.default_rng(seed)
    values = random.normal(size=(9, 50))
    values[6:] = 1e6 * values[6] + 1e-4 * random.normal(size=(3, 50))
    found = squared_distances(values)
    assert not found[6:, 6:].any()
    assert found[:6, 6:].min() > 0


def test_mixed_distances_are_those_of_mixed_vectors():
    values = np.random.default_rng(4).normal(size=(8, 20))
    rows = mixed(values, 3)
    expected = direct(rows.shares @ values)
    np.testing.assert_allclose(rows.squared, expected, rtol=1e-9, atol=1e-12)
    assert not rows.squared[expected < 1e-20].any()
    np.testing.assert_array_equal(mixed_distances(direct(values), np.eye(8)) > 0, ~np.eye(8, dtype=bool))
