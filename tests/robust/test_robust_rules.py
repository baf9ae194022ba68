"""The rules against values computed by hand, another library's, and plain loops over exact integers."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crimson_enclave.robust import combine, rules
from crimson_enclave.robust.mixing import mixed, neighbour_shares
from crimson_enclave.robust.rows import BLOCK, Rows
from crimson_enclave.robust.tolerance import most_tolerated
from crimson_protocol.errors import CallerFault
from crimson_protocol.policy.document import ROBUST_RULES
from crimson_protocol.refusal import Refusal

READING = [rule for rule in ROBUST_RULES if rule != "sketch-filter"]
NINE = np.arange(1.0, 10.0).reshape(3, 3)


def line(*values: float) -> Rows:
    return Rows(np.array(values, np.float64)[:, None])


def cloud(seed: int, count: int, length: int, far: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, length))
    values[:far] = 50 + 10 * random.normal(size=(far, length))
    return values


def exactly(squared: np.ndarray, tolerance: int) -> list[int]:
    """Scores of Krum by plain loops: sum of squared distances to the M - f nearest, itself among them."""
    return [sum(sorted(row)[: len(row) - tolerance]) for row in squared.tolist()]


# Values of byzfl 0.0.11 on the rows (1,2,3), (4,5,6), (7,8,9).
def test_another_librarys_values():
    rows = Rows(NINE)
    for found in (
        rules.trimmed_mean(rows, 1),
        rules.median(rows),
        rules.krum(rows, 0),
        rules.centered_clipping(rows, np.zeros(3), 100.0),
        rules.geometric_median(rows),
    ):
        np.testing.assert_allclose(found, [4, 5, 6], rtol=1e-14)
    np.testing.assert_allclose(rules.multi_krum(rows, 1), [2.5, 3.5, 4.5], rtol=1e-14)


def test_order_statistics_by_hand():
    rows = Rows(np.array([[0.0, 9.0], [1.0, 7.0], [5.0, 8.0], [100.0, -50.0]]))
    np.testing.assert_array_equal(rules.trimmed_mean(rows, 1), [3.0, 7.5])
    np.testing.assert_array_equal(rules.median(rows), [3.0, 7.5])
    np.testing.assert_array_equal(rules.trimmed_mean(rows, 0), [26.5, -6.5])
    np.testing.assert_array_equal(rules.mean(rows), [26.5, -6.5])


def test_krum_by_hand():
    # f = 1, so four nearest with itself. Scores: 14, 6.25 + ..: of 0 1+6.25+16, of 1 1+2.25+9, of 2.5 2.25+2.25+6.25,
    # of 4 2.25+9+16, of 10 36+56.25+81.
    rows = line(0, 1, 2.5, 4, 10)
    assert rules.krum(rows, 1) == 2.5
    assert rules.multi_krum(rows, 1) == pytest.approx((0 + 1 + 2.5 + 4) / 4)


def test_centered_clipping_by_hand():
    rows = Rows(np.array([[3.0, 4.0], [0.3, 0.4]]))
    np.testing.assert_allclose(rules.centered_clipping(rows, np.zeros(2), 1.0), [0.45, 0.6], rtol=1e-14)
    # From (1, 0): differences (2, 4) and (-0.7, 0.4), of lengths √20 and √0.65; radius 2 clips the first.
    expected = [1 + (2 * 2 / 20**0.5 - 0.7) / 2, (2 * 4 / 20**0.5 + 0.4) / 2]
    np.testing.assert_allclose(rules.centered_clipping(rows, np.array([1.0, 0.0]), 2.0), expected, rtol=1e-14)


def test_mixing_by_hand():
    # Three nearest with itself: {0,1,3}, {1,0,3}, {3,1,0}, {10,3,1}.
    values = np.array([0.0, 1.0, 3.0, 10.0])[:, None]
    rows = mixed(values, 1)
    (_, _, block) = next(rows.blocks())
    np.testing.assert_allclose(block[:, 0], [4 / 3, 4 / 3, 4 / 3, 14 / 3], rtol=1e-14)
    assert combine(values, "median", 1, True, None, 0.0) == pytest.approx(4 / 3)
    assert combine(values, "trimmed-mean", 1, True, None, 0.0) == pytest.approx(4 / 3)
    assert combine(values, "geometric-median", 1, True, None, 0.0) == pytest.approx(4 / 3)
    # 1.5 and 7 from the last release 3 are clipped to 1 each: 3 + (-1 -1 -1 + 1) / 4.
    assert combine(values, "centered-clipping", 1, True, np.array([3.0]), 1.0) == pytest.approx(2.5)


@given(st.integers(0, 10**6), st.integers(5, 12), st.integers(1, 6), st.data())
def test_krum_is_the_plain_loop_over_exact_integers(seed, count, length, data):
    tolerance = data.draw(st.integers(0, most_tolerated("krum", count)))
    values = np.random.default_rng(seed).integers(-1000, 1000, (count, length))
    squared = np.square(values[:, None] - values[None]).sum(axis=2)
    scores = exactly(squared, tolerance)
    rows = Rows(values.astype(np.float64))
    np.testing.assert_allclose(rows.squared, squared, rtol=1e-9, atol=1e-6)
    best = sorted(range(count), key=scores.__getitem__)
    if scores[best[0]] < scores[best[1]]:
        np.testing.assert_array_equal(rules.krum(rows, tolerance), values[best[0]])
    chosen = best[: count - tolerance]
    if tolerance and scores[best[len(chosen) - 1]] < scores[best[len(chosen)]]:
        np.testing.assert_allclose(rules.multi_krum(rows, tolerance), values[chosen].mean(axis=0), atol=1e-9)


def test_equally_near_rows_are_taken_in_order():
    assert neighbour_shares(line(0, 1, -1).squared, 1).tolist() == [
        [0.5, 0.5, 0],
        [0.5, 0.5, 0],
        [0.5, 0, 0.5],
    ]
    assert rules.krum(line(1, 2, 3, 2), 0) == 2
    # Long enough for a sort that keeps no order to show it.
    shares = neighbour_shares(line(0, *[1, -1] * 30).squared, 30)
    assert np.flatnonzero(shares[0]).tolist() == list(range(31))
    corners = np.random.default_rng(8).permutation(np.repeat(np.eye(3), 30, axis=0))
    np.testing.assert_array_equal(rules.krum(Rows(corners), 20), corners[0])


@pytest.mark.parametrize("mixing", [False, True])
@pytest.mark.parametrize("rule", READING)
def test_order_and_place_do_not_matter(rule, mixing):
    tolerance = min(2, most_tolerated(rule, 9))
    values = cloud(3, 9, 4, far=tolerance)
    start, shift = np.full(4, 0.2), np.array([3.0, -1.0, 0.5, 20.0])

    def made(moved: np.ndarray, origin: np.ndarray) -> np.ndarray:
        return combine(moved, rule, tolerance, mixing, origin, 1.5)

    expected = made(values, start)
    for order in list(permutations(range(9)))[:: 40320 // 4]:
        np.testing.assert_allclose(made(values[list(order)], start), expected, atol=1e-9)
    np.testing.assert_allclose(made(values + shift, start + shift), expected + shift, atol=1e-9)
    assert np.abs(expected - made(values + cloud(4, 9, 4), start)).max() > 1e-3


@pytest.mark.parametrize("mixing", [False, True])
@pytest.mark.parametrize("rule", READING)
def test_long_vectors_are_read_in_blocks(rule, mixing):
    tolerance = min(2, most_tolerated(rule, 7))
    values = cloud(5, 7, 3, far=tolerance)
    # Every block holds the same columns, so every block of the result must, and distances only grow by one factor.
    times = BLOCK + 5
    long = np.tile(values, times)
    found = combine(long, rule, tolerance, mixing, None, 1.5 * times**0.5)
    expected = combine(values, rule, tolerance, mixing, None, 1.5)
    np.testing.assert_allclose(found.reshape(times, 3), np.tile(expected, (times, 1)), atol=1e-9)


@pytest.mark.parametrize("rule", [rule for rule in READING if most_tolerated(rule, 1) == 0])
def test_one_value_is_its_own_result(rule):
    np.testing.assert_allclose(combine(np.array([[2.0, -1.0]]), rule, 0, True, None, 9.0), [2.0, -1.0])


@pytest.mark.parametrize("rule", READING)
def test_values_are_not_changed(rule):
    values = cloud(7, 9, 4)
    before = values.copy()
    combine(values, rule, 0, True, np.ones(4), 0.5)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    ("values", "rule", "start", "code"),
    [
        (NINE, "sketch-filter", None, Refusal.UNSUPPORTED),
        (NINE, "bulyan", None, Refusal.UNSUPPORTED),
        (NINE, "centered-clipping", np.zeros(2), Refusal.WRONG_LENGTH),
        (NINE.astype(np.float32), "median", None, Refusal.MALFORMED),
        (NINE[0], "median", None, Refusal.MALFORMED),
    ],
)
def test_wrong_calls_are_refused(values, rule, start, code):
    with pytest.raises(CallerFault) as caught:
        combine(values, rule, 0, False, start, 1.0)
    assert caught.value.code is code
