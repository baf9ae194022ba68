"""Kept order statistics are exact integers, the same as sorting them with unbounded integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crimson_enclave.robust.kept_sum import kept
from crimson_protocol.errors import CallerFault

BIG = 2**58
columns = st.lists(
    st.lists(st.integers(-BIG, BIG), min_size=3, max_size=3), min_size=1, max_size=16
)  # 16 · 2^58 < 2^63


@given(columns, st.data())
def test_as_unbounded_integers_have_it(rows, data):
    trimmed = data.draw(st.integers(0, (len(rows) - 1) // 2))
    sums, count = kept(np.array(rows, np.int64), trimmed)
    expected = [sum(sorted(column)[trimmed : len(rows) - trimmed]) for column in zip(*rows, strict=True)]
    assert sums.tolist() == expected
    assert count == len(rows) - 2 * trimmed


@pytest.mark.parametrize(("buckets", "count"), [(7, 1), (8, 2)])
def test_the_median_is_the_furthest_trimming(buckets, count):
    values = np.arange(buckets, dtype=np.int64)[:, None] ** 3
    sums, number = kept(values, (buckets - 1) // 2)
    assert number == count
    assert sums[0] / number == np.median(values)


def test_long_rows_are_read_in_blocks():
    values = np.random.default_rng(1).integers(-99, 99, (5, 40_001))
    expected = np.sort(values, axis=0)[1:4].sum(axis=0)
    before = values.copy()
    np.testing.assert_array_equal(kept(values, 1)[0], expected)
    np.testing.assert_array_equal(kept(values, 0)[0], values.sum(axis=0))
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    ("values", "trimmed"),
    [
        (np.ones((4, 2), np.int64), 2),
        (np.ones((4, 2), np.int64), -1),
        (np.ones((4, 2)), 0),
        (np.ones(4, np.int64), 0),
        (np.ones((0, 2), np.int64), 0),
    ],
)
def test_wrong_calls_are_refused(values, trimmed):
    with pytest.raises(CallerFault):
        kept(values, trimmed)
