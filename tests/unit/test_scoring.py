"""Score lanes against scikit-survival on WHAS500 and against sums made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sksurv.datasets import load_whas500
from sksurv.linear_model.coxph import BreslowEstimator
from sksurv.metrics import (
    brier_score,
    concordance_index_censored,
    concordance_index_ipcw,
    integrated_brier_score,
)
from sksurv.nonparametric import CensoringDistributionEstimator
from sksurv.util import Surv

from crimson_node.data.rows import SurvivalRows
from crimson_node.learning.curves import censoring_curve, cumulative_hazard
from crimson_node.learning.scoring import CENSORING_FLOOR, combine, lane_names, score_site
from crimson_protocol.errors import CallerFault

GRID = np.array([200.0, 500.0, 1000.0, 1500.0, 1900.0])


def rows_of(time, event, train) -> SurvivalRows:
    time = np.asarray(time, dtype=np.float64)
    flags = (np.asarray(event, dtype=bool), np.asarray(train, dtype=bool))
    return SurvivalRows(np.zeros((len(time), 1)), time, *flags)


@pytest.fixture(scope="module")
def whas() -> tuple[SurvivalRows, np.ndarray]:
    """Rows, and as risk the age in decades, which ties."""
    frame, outcome = load_whas500()
    train = np.random.default_rng(0).random(500) < 0.7
    rows = rows_of(outcome["lenfol"], outcome["fstat"], train)
    return rows, np.floor(frame["age"].to_numpy() / 10) * 0.7


def outcome_of(rows: SurvivalRows):
    return Surv.from_arrays(rows.event, rows.time)


def combined(score, grid=GRID):
    return combine(score.to_lanes(), grid)


def test_pairs_equal_scikit_survival(whas) -> None:
    rows, risk = whas
    score = score_site(risk, rows, GRID)
    held_out = rows.held_out()
    index, concordant, discordant, tied, _ = concordance_index_censored(
        held_out.event, held_out.time, risk[~rows.train]
    )
    assert (score.concordant, score.tied_risk) == (concordant, tied)
    assert score.comparable == concordant + discordant + tied
    assert combined(score)["concordance"] == pytest.approx(index, abs=1e-12)


def test_weighted_concordance_equals_scikit_survival(whas) -> None:
    rows, risk = whas
    training, held_out = rows.training(), rows.held_out()
    assert censoring_curve(training.time, training.event)(GRID).min() > CENSORING_FLOOR
    expected = concordance_index_ipcw(
        outcome_of(training), outcome_of(held_out), risk[~rows.train], tau=GRID[-1]
    )[0]
    assert combined(score_site(risk, rows, GRID))["ipcw_concordance"] == pytest.approx(expected, abs=1e-12)


def test_brier_equals_scikit_survival(whas) -> None:
    rows, risk = whas
    training, held_out = rows.training(), rows.held_out()
    breslow = BreslowEstimator().fit(risk[rows.train], training.event, training.time)
    curves = np.array([curve(GRID) for curve in breslow.get_survival_function(risk[~rows.train])])
    score = score_site(risk, rows, GRID)
    _, expected = brier_score(outcome_of(training), outcome_of(held_out), curves, GRID)
    assert np.allclose(np.array(score.brier) / score.rows, expected, atol=1e-12)
    integrated = integrated_brier_score(outcome_of(training), outcome_of(held_out), curves, GRID)
    assert combined(score)["integrated_brier"] == pytest.approx(integrated, abs=1e-12)


def test_curves_equal_scikit_survival(whas) -> None:
    rows, risk = whas
    training = rows.training()
    times = np.unique(training.time)
    censoring = CensoringDistributionEstimator().fit(outcome_of(training))
    assert np.allclose(
        censoring_curve(training.time, training.event)(times), censoring.predict_proba(times), atol=1e-12
    )
    breslow = BreslowEstimator().fit(risk[rows.train], training.event, training.time)
    hazard = cumulative_hazard(training.time, training.event, risk[rows.train])
    assert np.allclose(hazard(times), breslow.cum_baseline_hazard_(times), rtol=1e-10)


def test_a_site_by_hand() -> None:
    # Training: event at 1, censored at 2, event at 3, equal risks. G = 1 before 2, then 1/2.
    # H0 = 1/3 from 1, 4/3 from 3. Held out: event at 1, censored at 1, event at 2.5, censored at 4.
    rows = rows_of([1, 2, 3, 1, 1, 2.5, 4], [1, 0, 1, 1, 0, 1, 0], [1, 1, 1, 0, 0, 0, 0])
    risk = np.zeros(7)
    risk[3:] = np.log([4.0, 2.0, 1.0, 1.0])
    score = score_site(risk, rows, np.array([1.0, 2.75]))
    assert (score.concordant, score.comparable, score.tied_risk) == (3, 4, 1)
    # The event at 2.5 weighs 1/G² = 4 and its only pair is tied.
    assert score.ipcw_concordant == pytest.approx(3 + 4 * 0.5)
    assert score.ipcw_comparable == pytest.approx(3 + 4)
    alive = np.exp(-np.array([4.0, 2.0, 1.0, 1.0]) / 3)
    first = alive[0] ** 2 + (1 - alive[2]) ** 2 + (1 - alive[3]) ** 2
    second = alive[0] ** 2 + 2 * alive[2] ** 2 + 2 * (1 - alive[3]) ** 2
    assert score.brier == pytest.approx((first, second))
    assert (score.rows, score.scored) == (4, 1)


def test_events_at_or_after_the_end_of_the_grid_carry_no_weight() -> None:
    rows = rows_of([1, 2, 1, 2, 3], [1, 0, 1, 1, 0], [1, 1, 0, 0, 0])
    score = score_site(np.zeros(5), rows, np.array([0.5, 1.0]))
    assert score.comparable == 3 and score.ipcw_comparable == 0.0
    assert combine(score.to_lanes(), np.array([0.5, 1.0]))["ipcw_concordance"] is None


def test_weights_stay_finite_where_everybody_is_censored() -> None:
    rows = rows_of([1, 2, 3, 4, 5], [1, 0, 0, 1, 0], [1, 1, 1, 0, 0])
    score = score_site(np.zeros(5), rows, np.array([1.0, 4.5, 9.0]))
    assert score.ipcw_comparable == pytest.approx(1 / CENSORING_FLOOR**2)
    assert max(score.brier) <= score.rows / CENSORING_FLOOR


@pytest.mark.parametrize(
    ("event", "train"),
    [([1, 1, 1], [1, 1, 1]), ([0, 0, 1], [1, 1, 0]), ([0, 0, 0], [1, 1, 0]), ([1, 1, 1], [0, 0, 0])],
)
def test_a_site_that_cannot_be_scored_contributes_zeros(event, train) -> None:
    score = score_site(np.zeros(3), rows_of([1, 2, 3], event, train), GRID)
    assert score.to_lanes() == [0.0] * (len(GRID) + 7)


def test_nothing_scored_gives_no_score() -> None:
    assert combine([0.0] * (len(GRID) + 7), GRID) == {
        "concordance": None,
        "ipcw_concordance": None,
        "integrated_brier": None,
        "sites_scored": 0,
        "rows": 0,
    }


def test_one_time_gives_no_integral() -> None:
    lanes = score_site(np.zeros(2), rows_of([1, 2], [1, 1], [1, 0]), GRID[:1]).to_lanes()
    assert combine(lanes, GRID[:1])["integrated_brier"] is None


def test_lanes_have_names_in_order() -> None:
    assert lane_names(np.array([0.5, 2.0])) == [
        "concordant",
        "comparable",
        "tied_risk",
        "ipcw_concordant",
        "ipcw_comparable",
        "brier[0.5]",
        "brier[2]",
        "rows",
        "scored",
    ]


@given(st.integers(0, 10_000), st.integers(2, 400))
def test_lanes_are_finite_not_negative_and_within_their_bounds(seed, height) -> None:
    random = np.random.default_rng(seed)
    rows = rows_of(random.integers(0, 6, height), random.random(height) < 0.5, random.random(height) < 0.5)
    grid = np.array([0.0, 1.5, 4.0, 8.0])
    score = score_site(random.normal(0, 300, height), rows, grid)
    lanes = np.array(score.to_lanes())
    assert len(lanes) == len(lane_names(grid)) and np.isfinite(lanes).all() and (lanes >= 0).all()
    assert score.concordant + score.tied_risk <= score.comparable <= score.rows**2
    assert score.ipcw_concordant <= score.ipcw_comparable <= score.comparable / CENSORING_FLOOR**2
    assert max(score.brier) <= score.rows / CENSORING_FLOOR


def test_many_events_are_counted_in_parts_without_loss() -> None:
    random = np.random.default_rng(5)
    rows = rows_of(random.integers(1, 90, 1400), random.random(1400) < 0.9, np.arange(1400) % 2)
    risk = np.round(random.normal(size=1400), 1)
    score = score_site(risk, rows, GRID)
    held_out = rows.held_out()
    _, concordant, _, tied, _ = concordance_index_censored(held_out.event, held_out.time, risk[~rows.train])
    assert (score.concordant, score.tied_risk) == (concordant, tied)


def test_lanes_of_sites_add_up(whas) -> None:
    rows, risk = whas
    halves = [np.arange(500) % 2 == part for part in (0, 1)]
    scores = [score_site(risk[half], rows.where(half), GRID) for half in halves]
    total = combine([sum(pair) for pair in zip(*(score.to_lanes() for score in scores), strict=True)], GRID)
    concordant = sum(score.concordant + 0.5 * score.tied_risk for score in scores)
    assert total["concordance"] == concordant / sum(score.comparable for score in scores)
    assert (total["sites_scored"], total["rows"]) == (2, len(rows.held_out()))


@pytest.mark.parametrize(
    ("risk", "grid"),
    [
        ([0.0, np.nan], [1.0]),
        ([0.0], [1.0]),
        ([0.0, 0.0], []),
        ([0.0, 0.0], [2.0, 1.0]),
        ([0.0, 0.0], [1.0, 1.0]),
        ([0.0, 0.0], [np.inf]),
    ],
)
def test_wrong_arguments_are_refused(risk, grid) -> None:
    with pytest.raises(CallerFault):
        score_site(np.array(risk), rows_of([1, 2], [1, 1], [1, 0]), np.array(grid))


def test_the_wrong_number_of_lanes_is_refused() -> None:
    with pytest.raises(CallerFault):
        combine([0.0] * 3, GRID)
