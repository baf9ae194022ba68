"""Up to f bad vectors a rule's error is bounded by the honest vectors' spread, by the constants of the literature.

(f, kappa)-robustness (Allouah et al. 2023, "Fixing by mixing", definition 2): for every set S of n - f vectors,
|F(x) - mean of S|² <= kappa · mean over S of |x_i - mean of S|². Below, S are the honest ones, and bad ones do
their worst: far off, hidden in the spread, all alike, and by search.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crimson_enclave.robust import combine, most_tolerated
from crimson_enclave.robust.rows import Rows
from crimson_enclave.robust.rules import geometric_median, multi_krum


def kappa(rule: str, count: int, bad: int) -> float:
    ratio = bad / (count - 2 * bad)
    return {
        "trimmed-mean": 6 * ratio * (1 + ratio),
        "median": 4 * (1 + ratio) ** 2,
        "geometric-median": 4 * (1 + ratio) ** 2,
        "krum": 6 * (1 + ratio),
    }[rule]


def mixed_kappa(rule: str, count: int, bad: int) -> float:
    return 8 * bad / (count - bad) * (kappa(rule, count, bad) + 1)


def ratio_of(honest: np.ndarray, bad: np.ndarray, rule: str, mixing: bool) -> float:
    """|F(x) - honest mean|² as a multiple of the honest vectors' mean squared distance to their mean."""
    made = combine(np.concatenate([bad, honest]), rule, len(bad), mixing, None, 1.0)
    centre = honest.mean(axis=0)
    spread = np.square(honest - centre).sum(axis=1).mean()
    return float(np.square(made - centre).sum() / spread)


RULES = ("trimmed-mean", "median", "geometric-median", "krum")
ATTACKS = ("far", "opposite", "edge", "corner", "hidden")


def attack(kind: str, honest: np.ndarray, bad: int, random: np.random.Generator) -> np.ndarray:
    centre, deviation = honest.mean(axis=0), honest.std(axis=0)
    match kind:
        case "far":
            return np.tile(centre + 10.0 ** random.uniform(1, 7), (bad, 1))
        case "opposite":
            return np.tile(-5 * centre - 3 * deviation, (bad, 1))
        case "edge":
            return np.tile(honest.max(axis=0), (bad, 1))
        case "corner":
            furthest = np.argmax(np.linalg.norm(honest - centre, axis=1))
            return np.tile(honest[furthest] * 1.01, (bad, 1))
        case _:
            return centre + random.uniform(-2, 2) * deviation * random.choice([-1, 1], (bad, honest.shape[1]))


@given(st.sampled_from(RULES), st.booleans(), st.sampled_from(ATTACKS), st.integers(0, 10**6), st.data())
@settings(max_examples=400, deadline=None)
def test_the_error_is_bounded_by_the_honest_spread(rule, mixing, kind, seed, data):
    count = data.draw(st.integers(5, 20))
    bad = data.draw(st.integers(1, most_tolerated(rule, count)))
    random = np.random.default_rng(seed)
    honest = random.standard_t(3, size=(count - bad, data.draw(st.integers(1, 10)))) + random.normal()
    found = ratio_of(honest, attack(kind, honest, bad, random), rule, mixing)
    assert found <= (mixed_kappa if mixing else kappa)(rule, count, bad) * (1 + 1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_a_search_for_the_worst_stays_within(rule):
    random = np.random.default_rng(11)
    count, bad = 9, most_tolerated(rule, 9)
    best = (0.0, random.normal(size=(count - bad, 2)), random.normal(size=(bad, 2)))
    for _ in range(1500):
        honest = best[1] + random.normal(size=best[1].shape) * 10.0 ** random.uniform(-3, 0)
        worse = best[2] + random.normal(size=best[2].shape) * 10.0 ** random.uniform(-3, 1)
        found = ratio_of(honest, worse, rule, False)
        if found > best[0]:
            best = (found, honest, worse)
    assert 0.25 < best[0] <= kappa(rule, count, bad)


@pytest.mark.parametrize("rule", ["none", "norm-bound"])
def test_the_mean_has_no_such_bound(rule):
    honest = np.random.default_rng(1).normal(size=(8, 3))
    values = np.concatenate([honest, np.full((1, 3), 1e6)])
    assert np.linalg.norm(combine(values, rule, 0, False, None, 1.0)) > 1e5


@given(st.integers(0, 10**6), st.integers(3, 15), st.data())
@settings(deadline=None)
def test_the_geometric_median_stays_near_a_majority(seed, count, data):
    """Minsker 2015, lemma 2.1: with at most a share a < 1/2 of the vectors further than r from a point, it is within
    r (1 - a) / sqrt(1 - 2a) of the point."""
    bad = data.draw(st.integers(1, max(1, (count - 1) // 2)))
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, 3))
    values[:bad] = random.normal(size=3) * 10.0 ** random.uniform(0, 6)
    radius = float(np.linalg.norm(values[bad:], axis=1).max())
    share = bad / count
    found = float(np.linalg.norm(geometric_median(Rows(values))))
    assert found <= radius * (1 - share) / (1 - 2 * share) ** 0.5 * (1 + 1e-9)


def test_that_lemma_is_reached():
    # 48 of 100 lie very far along x. From the bound's point on that axis the tangents to the unit circle touch it where
    # the 52 others lie, and their pull back is 52 · 48/52: the point is the median.
    share = 0.48
    bound = (1 - share) / (1 - 2 * share) ** 0.5
    honest = np.array([[1 / bound, side * (1 - bound**-2) ** 0.5] for side in (-1, 1)] * 26)
    values = np.concatenate([honest, np.tile([1e7, 0.0], (48, 1))])
    np.testing.assert_allclose(geometric_median(Rows(values)), [bound, 0], atol=1e-5)


@pytest.mark.parametrize("mixing", [False, True])
@pytest.mark.parametrize("far", [1e3, 1e9])
def test_multi_krum_leaves_exactly_the_far_ones_out(far, mixing):
    honest = np.random.default_rng(4).normal(size=(9, 5))
    assert most_tolerated("multi-krum", 9 + 6) == 6
    for bad in range(1, 7):
        values = np.concatenate([np.arange(1, bad + 1)[:, None] * far + np.zeros(5), honest])
        np.testing.assert_allclose(multi_krum(Rows(values), bad), honest.mean(axis=0), atol=1e-12)
        # Every honest vector is mixed to that mean, and so is the result.
        made = combine(values, "multi-krum", bad, mixing, None, 1.0)
        np.testing.assert_allclose(made, honest.mean(axis=0), atol=1e-12)


@given(st.integers(0, 10**6), st.floats(0.01, 10), st.integers(1, 4))
def test_centered_clipping_moves_by_a_share_of_its_radius(seed, radius, bad):
    """Replacing f of n vectors moves the result by at most 2 f radius / n, and it stays within radius of the start."""
    random = np.random.default_rng(seed)
    values, start = random.normal(size=(9, 4)), random.normal(size=4)
    made = combine(values, "centered-clipping", bad, False, start, radius)
    worse = values.copy()
    worse[:bad] = random.normal(size=(bad, 4)) * 10.0 ** random.uniform(0, 8)
    moved = combine(worse, "centered-clipping", bad, False, start, radius)
    assert np.linalg.norm(moved - made) <= 2 * bad * radius / 9 * (1 + 1e-9) + 1e-9
    assert np.linalg.norm(moved - start) <= radius * (1 + 1e-9) + 1e-9
