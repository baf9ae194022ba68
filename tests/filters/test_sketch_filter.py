"""The filter on drawn sketches: whom each test finds, whom it must leave alone, and that it cannot be turned around."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crimson_enclave.filters.sketch_filter import DIRECTION, DISTANCE, NORM, SPECTRUM, TESTS, flag
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.sketch import sketch

Reals = NDArray[np.float64]
SITES, BAD, BUCKETS = 60, 12, 256
ATTACKERS = set(range(BAD))


def cohort(seed: int, sites: int = SITES, alike: float = 0.3, length: float = 0.7) -> Reals:
    """Sketches of honest updates of norm `length`, bound 1: a common direction and each site's own."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 1, BUCKETS)
    rows = alike * common + np.sqrt(1 - alike**2) * rng.normal(0, 1, (sites, BUCKETS))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) * 2 * length


def put_out(found: dict[int, str], test: str) -> set[int]:
    return {place for place, failed in found.items() if failed == test}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sites", [6, 12, 60])
def test_honest_sites_alike_stay(seed: int, sites: int) -> None:
    found = flag(cohort(seed, sites), 1.0, sites // 5)
    assert len(found) <= sites // 30


@pytest.mark.parametrize("factor", [-5.0, 10.0])
def test_long_updates_fail_the_public_bound(factor: float) -> None:
    rows = cohort(1)
    rows[:BAD] *= factor
    found = flag(rows, 1.0, BAD)
    assert put_out(found, NORM) == ATTACKERS
    # It compares with nobody: more than f may fail it, and with f = 0 it is all that is left.
    assert put_out(flag(rows, 1.0, 0), NORM) == ATTACKERS == set(flag(rows, 1.0, 0))
    for place in (0, BAD):
        assert (flag(rows[[place]], 1.0, 0) == {0: NORM}) == (place == 0)


def test_an_update_at_the_bound_passes_whatever_the_seed() -> None:
    rng = np.random.default_rng(2)
    update = rng.normal(0, 1, 5000)
    quanta = np.rint(update / np.linalg.norm(update) * 2**16).astype(np.int64)
    rows = [sketch(quanta, bytes([seed]) * 32, BUCKETS) / 2**16 for seed in range(200)]
    assert not any(flag(row[None, :], 1.0, 0) for row in rows)
    # A third above it, the estimate is 7 standard errors too high, and the limit is at 4.
    assert sum(flag(row[None, :] * 1.33, 1.0, 0) == {0: NORM} for row in rows) >= 195


def test_each_node_may_have_a_bound_of_its_own() -> None:
    rows = np.stack([cohort(3)[0], cohort(3)[0] * 3])
    assert flag(rows, np.array([1.0, 3.0]), 0) == {}
    assert flag(rows, np.array([1.0, 1.0]), 0) == {1: NORM}


def test_noise_far_from_everybody_fails_by_distance() -> None:
    rows = cohort(4, alike=0.8, length=0.4)
    rows[:BAD] = cohort(5, BAD, alike=0.0, length=0.99)
    assert put_out(flag(rows, 1.0, BAD), DISTANCE) == ATTACKERS


@pytest.mark.parametrize("known", [False, True])
def test_inner_product_manipulation_fails_by_direction(known: bool) -> None:
    rows = cohort(6)
    rows[:BAD] = -1.1 * rows[BAD:].mean(axis=0)
    last = rows[BAD:].mean(axis=0) if known else None
    found = flag(rows, 1.0, BAD, last)
    assert put_out(found, DIRECTION) == ATTACKERS == set(found)


def test_a_shift_common_to_attackers_shows_in_the_spectrum() -> None:
    rng = np.random.default_rng(7)
    # Updates of unlike lengths, so that distances tell little; attackers share a direction that is new.
    rows = cohort(7, alike=0.0) * rng.uniform(0.4, 1.4, (SITES, 1))
    rows[:BAD] = cohort(8, BAD, alike=0.9, length=0.6)
    found = flag(rows, 1.0, BAD, cohort(9)[0])
    assert put_out(found, SPECTRUM) == ATTACKERS == set(found)


@pytest.mark.parametrize("far", [1, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_a_site_far_out_alone_is_unusual_and_several_who_move_the_mean_are_out(seed: int, far: int) -> None:
    """One direction in which sites differ by 0.03 of the bound; `far` of them by ten times as much, to one side."""
    rng = np.random.default_rng(seed)
    rows = cohort(seed, alike=0.0, length=0.15) * rng.uniform(0.4, 1.4, (SITES, 1))
    rows[:, 0] = 2 * 0.03 * rng.normal(0, 1, SITES)
    rows[:far, 0] = 2 * 0.03 * 10
    found = flag(rows, 1.0, BAD, cohort(20)[0])
    assert set(found) == (set(range(far)) if far > 1 else set())


def test_shifts_that_cancel_move_no_mean_and_stay() -> None:
    rng = np.random.default_rng(1)
    rows = cohort(1, alike=0.0, length=0.15) * rng.uniform(0.4, 1.4, (SITES, 1))
    rows[:, 0] = 2 * 0.03 * rng.normal(0, 1, SITES)
    rows[:2, 0] = 2 * 0.03 * 10, -2 * 0.03 * 10
    assert flag(rows, 1.0, BAD, cohort(20)[0]) == {}


@pytest.mark.parametrize("turned", [0.95, 0.4, 0.0])
def test_a_model_that_turns_does_not_hide_who_is_against_it(turned: float) -> None:
    """Attackers send the honest mean reversed; its cosine with what was learnt last is `turned`."""
    rows = cohort(14, alike=0.5)
    mean = rows[BAD:].mean(axis=0) / np.linalg.norm(rows[BAD:].mean(axis=0))
    aside = cohort(15)[0] - (cohort(15)[0] @ mean) * mean
    rows[:BAD] = -mean
    last = turned * mean + np.sqrt(1 - turned**2) * aside / np.linalg.norm(aside)
    assert put_out(flag(rows, 1.0, BAD, last), DIRECTION) == ATTACKERS


@pytest.mark.parametrize("opposed", [BAD, BAD + 1])
def test_direction_is_not_held_against_more_than_f(opposed: int) -> None:
    rows = cohort(10)
    last = rows.mean(axis=0)
    rows[:opposed] = -last
    found = put_out(flag(rows, 1.0, BAD, last), DIRECTION)
    assert found == (ATTACKERS if opposed == BAD else set())


def test_odd_honest_sites_do_not_disarm_a_test() -> None:
    rows = cohort(11, alike=0.8, length=0.3)
    rows[:BAD] = cohort(12, BAD, alike=0.0, length=0.99)
    # Three honest sites nearly as far out: with the attackers more than f fail, and the furthest f are put out.
    rows[BAD : BAD + 3] = cohort(13, 3, alike=0.0, length=0.8)
    assert set(flag(rows, 1.0, BAD)) == ATTACKERS


shapes = st.tuples(st.integers(1, 12), st.sampled_from([8, 32]))


@given(shapes, st.integers(0, 2**32), st.integers(0, 6), st.booleans(), st.floats(0.01, 100))
@settings(max_examples=150)
def test_whatever_is_sent(
    shape: tuple[int, int], seed: int, tolerance: int, known: bool, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_t(1.5, shape) * scale
    rows[rng.random(shape[0]) < 0.2] = 0.0
    last = rng.normal(0, 1, shape[1]) if known else None
    bound = float(np.median(np.linalg.norm(rows, axis=1)) / 2 + scale)
    found = flag(rows, bound, tolerance, last)
    assert list(found) == sorted(found)
    assert set(found.values()) <= set(TESTS)
    # No comparison puts out more than f in all, and none puts out a node when f have failed already.
    compared = len(found) - len(put_out(found, NORM))
    assert compared <= max(0, tolerance - len(put_out(found, NORM)))
    assert flag(rows, bound, tolerance, last) == found
    assert flag(rows * 4, bound * 4, tolerance, last) == found
    order = rng.permutation(shape[0])
    moved = {int(order[place]): test for place, test in flag(rows[order], bound, tolerance, last).items()}
    assert put_out(moved, NORM) == put_out(found, NORM)
    assert len(moved) == len(found)


def test_nobody_is_put_out_of_a_cohort_that_agrees() -> None:
    for rows in (np.zeros((10, 64)), np.tile(cohort(14)[:1], (10, 1))):
        assert flag(rows, 1.0, 2) == {}
        assert flag(rows, 1.0, 2, np.zeros(rows.shape[1])) == {}
    # One site a hundredth of a thousandth of the bound away is no outlier, though every other is the same.
    rows = np.tile(cohort(15)[:1], (10, 1))
    rows[0] += 1e-5
    assert flag(rows, 1.0, 2) == {}


def test_callers_mistakes() -> None:
    rows, unfit = cohort(16, 6), np.full((6, BUCKETS), np.nan)
    cases: list[tuple[Any, Refusal]] = [
        ((rows[0], 1.0, 1), Refusal.MALFORMED),
        ((rows[:0], 1.0, 1), Refusal.MALFORMED),
        ((rows, 1.0, 1, rows[0][:8]), Refusal.MALFORMED),
        ((unfit, 1.0, 1), Refusal.NOT_FINITE),
        ((rows, 1.0, 1, unfit[0]), Refusal.NOT_FINITE),
        ((rows, 0.0, 1), Refusal.OUT_OF_RANGE),
        ((rows, float("inf"), 1), Refusal.OUT_OF_RANGE),
        ((rows, 1.0, -1), Refusal.OUT_OF_RANGE),
    ]
    for arguments, code in cases:
        with pytest.raises(CallerFault) as refused:
            flag(*arguments)
        assert refused.value.code is code
