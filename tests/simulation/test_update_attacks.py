from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist
from scipy.stats import norm

from crimson_protocol.errors import CallerFault
from crimson_simulation.attacks.registry import UPDATE_ATTACKS
from crimson_simulation.attacks.update_attacks import (
    alie,
    alie_deviation,
    edge,
    flip_at_bound,
    inner_product,
    min_max,
    noise,
    scaling,
    sign_flip,
    within_spread,
)

ROWS = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
OWN = np.array([[3.0, -4.0, 0.0], [0.0, 0.0, 0.0]])


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def population(seed: int, honest: int, attackers: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed).normal(0.3, 1, (honest + attackers, dimension))
    return drawn[:honest], drawn[honest:]


@pytest.mark.parametrize("name", UPDATE_ATTACKS)
def test_every_attack_gives_one_finite_row_per_attacker_and_changes_nothing_else(name: str) -> None:
    honest, own = population(1, 9, 4, 6)
    kept = honest.copy(), own.copy()
    sent = UPDATE_ATTACKS[name](honest, own, 2.0, rng())
    assert sent.shape == own.shape
    assert np.isfinite(sent).all()
    assert np.array_equal(honest, kept[0])
    assert np.array_equal(own, kept[1])
    assert np.array_equal(sent, UPDATE_ATTACKS[name](honest, own, 2.0, rng()))
    assert not np.allclose(sent, own)


def test_flips_and_scaling_of_known_rows() -> None:
    assert sign_flip(ROWS, OWN, 1.0, rng()).tolist() == [[-15, 20, 0], [0, 0, 0]]
    assert scaling(ROWS, OWN, 1.0, rng()).tolist() == [[30, -40, 0], [0, 0, 0]]
    # (3, -4, 0) has norm 5: reversed and brought to norm 2.
    assert np.allclose(flip_at_bound(ROWS, OWN, 2.0, rng()), [[-1.2, 1.6, 0], [0, 0, 0]], atol=1e-15)


def test_noise_is_ten_times_as_long_and_independent() -> None:
    _, own = population(2, 1, 200, 500)
    sent = noise(own, own, 1.0, rng())
    ratio = np.linalg.norm(sent, axis=1) / np.linalg.norm(own, axis=1)
    # The norm of 500 normals over sqrt(500) has a standard deviation of 1 / sqrt(1000).
    assert np.abs(ratio / 10 - 1).max() < 5 / sqrt(1000)
    directions = sent / np.linalg.norm(sent, axis=1, keepdims=True)
    cosines = (directions @ directions.T)[np.triu_indices(200, 1)]
    assert np.abs(cosines).max() < 6 / sqrt(500)
    assert abs(np.vecdot(directions, own).mean()) < 6 / sqrt(200)


def test_alie_is_that_of_byzfl_with_the_sign_against_the_mean() -> None:
    # byzfl 0.0.11, ALittleIsEnough(1.5) and (-1.5) on these rows, printed in its documentation for 1.5.
    assert np.allclose(within_spread(ROWS, OWN, -1.5), [[8.5, 9.5, 10.5]] * 2)
    assert np.allclose(within_spread(ROWS, OWN, 1.5), [[-0.5, 0.5, 1.5]] * 2)


@pytest.mark.parametrize(
    ("nodes", "attackers", "share"),
    # 50 nodes with 24 corrupt is the example of the paper: two more are needed, z about 1.43.
    [(50, 24, 24 / 26), (51, 12, 25 / 39), (67, 13, 33 / 54), (20, 4, 9 / 16)],
)
def test_deviation_of_alie(nodes: int, attackers: int, share: float) -> None:
    assert alie_deviation(nodes, attackers) == pytest.approx(norm.ppf(share), abs=1e-12)


def test_deviation_of_alie_where_it_means_nothing() -> None:
    assert alie_deviation(10, 0) == 0
    assert alie_deviation(10, 8) == 0


def test_alie_has_a_majority_beyond_it() -> None:
    honest, own = population(3, 8000, 4000, 4)
    sent = alie(honest, own, 1.0, rng())
    beyond = (honest < sent[0]).sum(axis=0) + len(own)
    # The count of honest ones beyond is binomial with a standard deviation below 45; z is estimated, too.
    assert np.abs(beyond - 6001).max() < 250
    assert np.allclose(sent, sent[0])


def test_inner_product_turns_a_mean_of_as_many_attackers_around() -> None:
    # byzfl 0.0.11, InnerProductManipulation(2) on these rows gives (-8, -10, -12): minus two means.
    assert np.allclose(inner_product(ROWS, OWN, 1.0, rng()) * 2 / 1.1, [[-8, -10, -12]] * 2)
    honest, own = population(4, 10, 10, 7)
    mean = np.concatenate([honest, inner_product(honest, own, 1.0, rng())]).mean(axis=0)
    assert mean @ honest.mean(axis=0) < 0


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 9), st.floats(-3, 3))
def test_min_max_goes_as_far_as_the_honest_diameter_allows(
    seed: int, honest_count: int, dimension: int, exponent: float
) -> None:
    honest, own = population(seed, honest_count, 2, dimension)
    honest, own = honest * 10**exponent, own * 10**exponent
    sent = min_max(honest, own, 1.0, rng())
    diameter = pdist(honest).max()
    assert np.array_equal(sent[0], sent[1])
    assert cdist(sent[:1], honest).max() == pytest.approx(diameter, rel=1e-9)
    mean, std = honest.mean(axis=0), honest.std(axis=0, ddof=1)
    # One more part in a million along the same line is too far, and the line is that of the deviation.
    assert cdist([mean + 1.000001 * (sent[0] - mean)], honest).max() > diameter
    assert (mean - sent[0]) @ std == pytest.approx(
        np.linalg.norm(mean - sent[0]) * np.linalg.norm(std), rel=1e-6
    )


def test_min_max_of_equal_updates_is_their_mean() -> None:
    honest = np.tile([0.1, 0.2], (5, 1))
    assert np.allclose(min_max(honest, OWN[:, :2], 1.0, rng()), 2 * [[0.1, 0.2]])


def test_edge_is_against_the_honest_mean_just_inside_the_bound() -> None:
    sent = edge(ROWS, OWN, 2.0, rng())
    lengths = np.linalg.norm(sent, axis=1)
    assert (lengths < 2.0).all()
    assert (lengths > 1.95).all()
    mean = np.array([4.0, 5.0, 6.0])
    assert np.allclose(sent @ mean, -lengths * np.linalg.norm(mean))


@pytest.mark.parametrize("name", ["alie", "inner-product", "min-max", "edge"])
def test_attacks_that_look_at_honest_updates_need_one(name: str) -> None:
    with pytest.raises(CallerFault):
        UPDATE_ATTACKS[name](ROWS[:0], OWN, 1.0, rng())
    assert UPDATE_ATTACKS[name](ROWS[:1], OWN, 1.0, rng()).shape == OWN.shape
