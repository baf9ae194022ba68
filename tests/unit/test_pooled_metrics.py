"""Scores on pooled rows: equal to scikit-survival's own where it can compute them, explained where not."""

import json

import numpy as np
import pytest
from sksurv.datasets import load_whas500
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import concordance_index_censored, concordance_index_ipcw, integrated_brier_score
from sksurv.util import Surv

from crimson_node.data.rows import SurvivalRows
from crimson_node.learning.cox import CoxPlan, train
from crimson_node.learning.plan import TrainingPlan
from crimson_node.learning.standardise import Standardiser, site_moments
from crimson_simulation.pooled_metrics import centralised, follow_up_grid, local_models, pooled

SCORES = ("concordance", "ipcw_concordance", "integrated_brier")
ALONE = CoxPlan(steps=5, learning_rate=0.2, l2=0.01)
PLAN = TrainingPlan(
    task="cox",
    time_column="time",
    event_column="event",
    numeric=tuple("abcdefghijklmn"),
    categorical=(),
    steps=5,
    learning_rate_micro=200_000,
    l2_micro=10_000,
    weights="rows",
    scale_model=None,
    grid_micro=(),
)
START = np.zeros(14)


def rows_of(features, time, event, train_flags) -> SurvivalRows:
    values = np.asarray(features, dtype=np.float64)
    flags = (np.asarray(event, dtype=bool), np.asarray(train_flags, dtype=bool))
    return SurvivalRows(values, np.asarray(time, dtype=np.float64), *flags)


@pytest.fixture(scope="module")
def whas() -> SurvivalRows:
    frame, outcome = load_whas500()
    features = frame.astype(float).to_numpy()
    features = Standardiser.from_moments(*site_moments(features)).apply(features)
    flags = np.random.default_rng(1).random(500) < 0.7
    return rows_of(features, outcome["lenfol"], outcome["fstat"], flags)


@pytest.fixture(scope="module")
def sites(whas) -> dict[str, SurvivalRows]:
    place = np.random.default_rng(2).integers(0, 4, 500)
    return {f"site {i}": whas.where(place == i) for i in range(4)}


def outcome_of(rows: SurvivalRows):
    return Surv.from_arrays(rows.event, rows.time)


def test_scores_equal_scikit_survival(whas) -> None:
    training = whas.training()
    # The library cannot weigh rows followed for longer than any training row.
    held_out = whas.held_out().where(whas.held_out().time < training.time.max())
    model = CoxPHSurvivalAnalysis(ties="breslow").fit(training.features, outcome_of(training))
    scores = pooled(model.coef_, training, held_out)
    risk = held_out.features @ model.coef_
    grid = follow_up_grid(training)
    grid = grid[grid < held_out.time.max()]
    assert scores["tau"] == grid[-1] == scores["brier_to"] and scores["brier_from"] == grid[0]
    harrell = concordance_index_censored(held_out.event, held_out.time, risk)[0]
    assert scores["concordance"] == pytest.approx(harrell, abs=1e-12)
    weighted = concordance_index_ipcw(outcome_of(training), outcome_of(held_out), risk, tau=grid[-1])[0]
    assert scores["ipcw_concordance"] == pytest.approx(weighted, abs=1e-12)
    curves = np.array([curve(grid) for curve in model.predict_survival_function(held_out.features)])
    brier = integrated_brier_score(outcome_of(training), outcome_of(held_out), curves, grid)
    assert scores["integrated_brier"] == pytest.approx(brier, abs=1e-10)
    assert scores["reasons"] == {}


def test_held_out_follow_up_may_outlast_training(whas) -> None:
    training, held_out = whas.training(), whas.held_out()
    longer = SurvivalRows.together([held_out, rows_of(np.zeros((1, 14)), [9e5], [True], [False])])
    scores = pooled(np.zeros(14), training, longer)
    assert all(scores[name] is not None for name in SCORES)
    assert scores["tau"] < training.time.max()


def test_a_grid_beyond_the_follow_up_is_cut(whas) -> None:
    training, held_out = whas.training(), whas.held_out()
    scores = pooled(np.zeros(14), training, held_out, np.array([-5.0, 100.0, 900.0, 1e6]))
    assert (scores["brier_from"], scores["tau"]) == (100.0, 900.0)


def test_equal_risks_are_a_coin(whas) -> None:
    scores = pooled(np.zeros(14), whas.training(), whas.held_out())
    assert scores["concordance"] == scores["ipcw_concordance"] == 0.5


def test_what_cannot_be_computed_is_none_with_a_reason(whas) -> None:
    training, held_out = whas.training(), whas.held_out()
    nothing = held_out.where(np.zeros(len(held_out), dtype=bool))
    censored = held_out.where(~held_out.event)
    for test_rows in (nothing, censored, held_out.where(np.arange(len(held_out)) == 0)):
        scores = pooled(np.zeros(14), training, test_rows)
        assert scores["concordance"] is None and scores["ipcw_concordance"] is None
        assert {name for name in SCORES if scores[name] is None} == set(scores["reasons"])
        assert all(scores["reasons"].values())
    outside = pooled(np.zeros(14), training, held_out, np.array([1e6, 2e6]))
    assert outside["tau"] is None and outside["concordance"] is not None
    assert set(outside["reasons"]) == {"ipcw_concordance", "integrated_brier"}
    early = pooled(np.zeros(14), training, held_out.where(held_out.time > 100), np.array([101.0, 102.0]))
    assert early["concordance"] is not None


def test_all_training_rows_censored_has_reasons(whas) -> None:
    training = whas.training().where(~whas.training().event)
    scores = pooled(np.zeros(14), training, whas.held_out())
    assert scores["concordance"] == 0.5 and "ipcw_concordance" in scores["reasons"]


def test_the_centralised_model_has_the_federations_budget(whas, sites) -> None:
    parts = list(sites.values())
    together = SurvivalRows.together(parts)
    theta = train(np.zeros(14), together, CoxPlan(20, ALONE.learning_rate, ALONE.l2))
    assert centralised(parts, PLAN, START, rounds=4) == pooled(
        theta, together.training(), together.held_out()
    )
    assert centralised(parts, PLAN, START, rounds=20)["concordance"] > 0.7


def test_local_models_are_scored_on_everybodys_held_out_rows(whas, sites) -> None:
    scores = local_models(sites, PLAN, START, rounds=4)
    assert list(scores) == list(sites)
    together = SurvivalRows.together(sites.values())
    theta = train(np.zeros(14), sites["site 2"], CoxPlan(20, ALONE.learning_rate, ALONE.l2))
    assert scores["site 2"] == pooled(theta, together.training(), together.held_out())


def test_a_site_with_no_training_event_has_no_model(sites) -> None:
    silent = sites["site 0"]
    silent = SurvivalRows(silent.features, silent.time, np.zeros(len(silent), dtype=bool), silent.train)
    scores = local_models(sites | {"site 0": silent}, PLAN, START, rounds=1)["site 0"]
    assert all(scores[name] is None for name in SCORES)
    assert scores["reasons"] == dict.fromkeys(SCORES, "the site has no training event")


def test_scores_are_plain_json(sites) -> None:
    grid = np.array([100.0, 500.0, 1000.0])
    scores = [
        centralised(list(sites.values()), PLAN, START, 1, grid),
        local_models(sites, PLAN, START, 1, grid),
    ]
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_the_grid_lies_within_the_training_follow_up(whas) -> None:
    grid = follow_up_grid(whas.training())
    assert len(grid) == 20 and (np.diff(grid) > 0).all()
    assert whas.training().time.min() <= grid[0] and grid[-1] <= whas.training().time.max()
