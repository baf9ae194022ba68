"""Cox training against hand-computed values, scikit-survival, and the centralised stratified fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sksurv.datasets import load_whas500
from sksurv.linear_model import CoxPHSurvivalAnalysis

from crimson_node.data.rows import SurvivalRows
from crimson_node.learning.cox import CoxPlan, gradient, loss, train
from crimson_node.learning.standardise import Standardiser, site_moments
from crimson_protocol.errors import CallerFault


def rows_of(features, time, event, train_flags=None) -> SurvivalRows:
    time = np.asarray(time, dtype=np.float64)
    flags = np.ones(len(time), dtype=bool) if train_flags is None else np.asarray(train_flags, dtype=bool)
    return SurvivalRows(np.asarray(features, dtype=np.float64), time, np.asarray(event, dtype=bool), flags)


def random_rows(seed: int, height: int, width: int = 3) -> SurvivalRows:
    random = np.random.default_rng(seed)
    event = random.random(height) < 0.5
    event[0] = True
    return rows_of(random.normal(size=(height, width)), random.integers(1, 9, height), event)


@pytest.fixture(scope="module")
def whas() -> tuple[SurvivalRows, np.ndarray]:
    frame, outcome = load_whas500()
    features = frame.astype(float).to_numpy()
    rows = rows_of(features, outcome["lenfol"], outcome["fstat"])
    return rows.with_features(Standardiser.from_moments(*site_moments(features)).apply(features)), outcome


def test_loss_by_hand_with_a_tie() -> None:
    # Times 3, 2, 2, 1; events at 2 (twice) and 1. Hazard ratios exp(x log 2) = 2, 4, 1, 8.
    rows = rows_of([[1.0], [2.0], [0.0], [3.0]], [3, 2, 2, 1], [False, True, True, True])
    theta = np.array([np.log(2.0)])
    expected = (np.log(7.0 / 4.0) + np.log(7.0 / 1.0) + np.log(15.0 / 8.0)) / 3
    assert loss(theta, rows) == pytest.approx(expected, abs=1e-14)
    assert loss(theta, rows, l2=0.5) == pytest.approx(expected + 0.25 * np.log(2.0) ** 2, abs=1e-14)


@given(st.integers(0, 10_000), st.integers(2, 40))
def test_the_gradient_is_the_slope_of_the_loss(seed, height) -> None:
    rows = random_rows(seed, height)
    theta = np.random.default_rng(seed + 1).normal(size=3)
    for axis, step in enumerate(np.eye(3) * 1e-5):
        slope = (loss(theta + step, rows, 0.1) - loss(theta - step, rows, 0.1)) / 2e-5
        assert gradient(theta, rows, 0.1)[axis] == pytest.approx(slope, abs=1e-7)


@given(st.integers(0, 10_000), st.integers(2, 30))
def test_the_order_of_rows_does_not_matter(seed, height) -> None:
    rows = random_rows(seed, height)
    order = np.random.default_rng(seed).permutation(height)
    shuffled = rows_of(rows.features[order], rows.time[order], rows.event[order])
    assert loss(np.ones(3), shuffled) == pytest.approx(loss(np.ones(3), rows), abs=1e-12)


def test_the_fit_equals_scikit_survival(whas) -> None:
    rows, outcome = whas
    reference = CoxPHSurvivalAnalysis(alpha=0, ties="breslow", tol=1e-12, n_iter=200).fit(
        rows.features, outcome
    )
    assert np.abs(gradient(reference.coef_, rows)).max() < 1e-9
    fitted = train(np.zeros(14), rows, CoxPlan(steps=1500, learning_rate=0.5, l2=0.0))
    assert np.abs(fitted - reference.coef_).max() < 1e-5


def test_ridge_equals_scikit_survival(whas) -> None:
    rows, outcome = whas
    # The library penalises the sum over events, this loss the mean.
    alpha = 0.1 * rows.event.sum()
    reference = CoxPHSurvivalAnalysis(alpha=alpha, ties="breslow", tol=1e-12, n_iter=200)
    assert np.abs(gradient(reference.fit(rows.features, outcome).coef_, rows, 0.1)).max() < 1e-6


def test_training_lowers_the_loss_and_repeats_bit_for_bit(whas) -> None:
    rows, _ = whas
    plan = CoxPlan(steps=5, learning_rate=0.1, l2=0.01)
    once, again = train(np.zeros(14), rows, plan), train(np.zeros(14), rows, plan)
    assert once.tobytes() == again.tobytes()
    assert loss(once, rows, 0.01) < loss(np.zeros(14), rows, 0.01)


def test_steps_compose(whas) -> None:
    rows, _ = whas
    two = train(np.zeros(14), rows, CoxPlan(2, 0.1, 0.01))
    assert np.array_equal(
        train(two, rows, CoxPlan(3, 0.1, 0.01)), train(np.zeros(14), rows, CoxPlan(5, 0.1, 0.01))
    )


def test_held_out_rows_do_not_enter() -> None:
    rows = random_rows(1, 30)
    mixed = SurvivalRows.together([rows, rows_of(np.full((5, 3), 9.0), [1] * 5, [True] * 5, [False] * 5)])
    plan = CoxPlan(3, 0.1, 0.0)
    assert np.array_equal(train(np.zeros(3), mixed, plan), train(np.zeros(3), rows, plan))


def test_one_step_averaged_by_events_is_the_stratified_step() -> None:
    sites = [random_rows(seed, 20 + 10 * seed) for seed in range(4)]
    events = np.array([rows.event.sum() for rows in sites], dtype=np.float64)
    federated = central = np.zeros(3)
    for _ in range(50):
        ends = [train(federated, rows, CoxPlan(1, 0.2, 0.0)) for rows in sites]
        federated = np.average(ends, axis=0, weights=events)
        sums = sum(gradient(central, rows) * count for rows, count in zip(sites, events, strict=True))
        central = central - 0.2 * sums / events.sum()
    assert np.abs(federated - central).max() < 1e-12


def test_a_site_with_no_event_returns_theta_unchanged() -> None:
    rows = rows_of([[1.0], [2.0]], [1, 2], [False, False])
    assert train(np.array([0.7]), rows, CoxPlan(5, 0.5, 0.3)).tolist() == [0.7]
    empty = rows.where(np.zeros(2, dtype=bool))
    assert train(np.array([0.7]), empty, CoxPlan(5, 0.5, 0.3)).tolist() == [0.7]
    assert loss(np.array([2.0]), rows, 0.5) == 1.0


def test_theta_given_is_not_changed() -> None:
    theta = np.zeros(3)
    moved = train(theta, random_rows(2, 20), CoxPlan(1, 0.1, 0.0))
    assert moved.any() and not theta.any()


def test_large_risks_stay_finite() -> None:
    rows = rows_of([[800.0], [-800.0], [0.0]], [1, 2, 3], [True, True, True])
    assert np.isfinite(loss(np.array([2.0]), rows))
    assert np.isfinite(gradient(np.array([2.0]), rows)).all()


@pytest.mark.parametrize(
    "fields", [(0, 0.1, 0.0), (1, 0.0, 0.0), (1, float("nan"), 0.0), (1, 0.1, -1.0), (1, 0.1, float("inf"))]
)
def test_a_plan_that_cannot_run_is_refused(fields) -> None:
    with pytest.raises(CallerFault):
        CoxPlan(*fields)


def test_wrong_shape_and_divergence_are_refused() -> None:
    rows = random_rows(3, 20)
    with pytest.raises(CallerFault):
        train(np.zeros(2), rows, CoxPlan(1, 0.1, 0.0))
    with pytest.raises(CallerFault, match="diverged"):
        train(np.ones(3), rows, CoxPlan(400, 10.0, 10.0))


def test_moments_of_sites_add_up() -> None:
    features = np.random.default_rng(0).normal(5.0, 3.0, size=(50, 4))
    features[:, 3] = 1e6 + 0.1
    parts = [site_moments(part) for part in np.array_split(features, 3)]
    count, total, squares = (sum(part[i] for part in parts) for i in range(3))
    standardiser = Standardiser.from_moments(count, total, squares)
    assert np.allclose(standardiser.mean, features.mean(axis=0), rtol=1e-12)
    assert np.allclose(standardiser.scale[:3], features[:, :3].std(axis=0), rtol=1e-12)
    assert standardiser.scale[3] == 1.0
    applied = standardiser.apply(features)
    assert np.allclose(applied[:, :3].std(axis=0), 1.0) and np.abs(applied[:, 3]).max() < 1e-6


def test_no_moments_no_standardiser() -> None:
    with pytest.raises(CallerFault):
        Standardiser.from_moments(0, np.zeros(2), np.zeros(2))
    with pytest.raises(CallerFault):
        Standardiser.from_moments(1, np.array([np.nan]), np.zeros(1))
