"""Scores that need all rows in one place, which only a simulation has; computed with scikit-survival.

They stand beside what a real federation sees through its lanes: Harrell's concordance, concordance weighted
by inverse probability of censoring, and the integrated Brier score on the pooled held-out rows, for the
federated model, for one model trained on all rows, and for each site's own model. Rows are standardised by
the caller.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sksurv.exceptions import NoComparablePairException
from sksurv.metrics import concordance_index_censored, concordance_index_ipcw, integrated_brier_score
from sksurv.util import Surv

from crimson_node.data.rows import Floats, SurvivalRows
from crimson_node.learning.learner import CoxLearner, Learner, learner_of
from crimson_node.learning.local_steps import train
from crimson_node.learning.plan import TrainingPlan

COX = CoxLearner()
_GRID_TIMES = 20
# The trapezoidal rule needs an interval.
_FEWEST_TIMES = 2
_SCORES = ("concordance", "ipcw_concordance", "integrated_brier")


def follow_up_grid(train_rows: SurvivalRows) -> Floats:
    """Up to 20 even times from the 10th to the 90th percentile of the training follow-up, in its unit."""
    low, high = np.percentile(train_rows.time, [10, 90])
    return np.unique(np.linspace(low, high, _GRID_TIMES))


def pooled(
    theta: Floats,
    train_rows: SurvivalRows,
    test_rows: SurvivalRows,
    grid: Floats | None = None,
    learner: Learner = COX,
) -> dict[str, Any]:
    """Scores of the parameters theta on test rows; censoring, and a Cox baseline hazard, from training rows.

    Returns concordance, ipcw_concordance (up to `tau`) and integrated_brier, each a number or None, `tau`,
    `brier_from` and `brier_to` (times or None), and `reasons`, which says for every None why. `grid`
    (times,) defaults to `follow_up_grid`; times outside the follow-up of either set of rows are left out.
    Every row given counts as what its argument says, whatever its own train flag.
    """
    asked = follow_up_grid(train_rows) if grid is None else np.asarray(grid, dtype=np.float64)
    inside = _inside_follow_up(asked, train_rows, test_rows)
    tau = float(inside[-1]) if len(inside) else None
    risk = learner.risk(theta, test_rows.features)

    def survival(times: Floats) -> Floats:
        return learner.survival(theta, train_rows, test_rows.features, times)

    reasons: dict[str, str] = {}
    computed: dict[str, Callable[[], float]] = {
        "concordance": lambda: _concordance(test_rows, risk),
        "ipcw_concordance": lambda: _ipcw_concordance(train_rows, test_rows, risk, tau),
        "integrated_brier": lambda: _integrated_brier(survival, train_rows, test_rows, inside),
    }
    scores: dict[str, Any] = {name: _value(name, compute, reasons) for name, compute in computed.items()}
    scores |= {"tau": tau, "brier_from": float(inside[0]) if len(inside) else None, "brier_to": tau}
    return scores | {"reasons": reasons}


def centralised(
    sites: Sequence[SurvivalRows], plan: TrainingPlan, start: Floats, rounds: int, grid: Floats | None = None
) -> dict[str, Any]:
    """Scores of one model trained from `start` on all training rows in one place, rounds * plan.steps steps."""
    together = SurvivalRows.together(sites)
    theta = _trained_alone(together, plan, start, rounds)
    return pooled(theta, together.training(), together.held_out(), grid, learner_of(plan))


def local_models(
    sites: Mapping[str, SurvivalRows],
    plan: TrainingPlan,
    start: Floats,
    rounds: int,
    grid: Floats | None = None,
) -> dict[str, dict[str, Any]]:
    """For each site, scores on all held-out rows of the model it would train alone with the same steps.

    Censoring and baseline hazard come from all training rows, so that models differ in parameters only.
    Every score of a site with no training event is None.
    """
    together, learner = SurvivalRows.together(sites.values()), learner_of(plan)
    train_rows, test_rows = together.training(), together.held_out()
    scores = {}
    for name, rows in sites.items():
        theta = _trained_alone(rows, plan, start, rounds)
        scores[name] = pooled(theta, train_rows, test_rows, grid, learner)
        if not rows.training().event.any():
            reason = "the site has no training event"
            scores[name] |= dict.fromkeys(_SCORES) | {"reasons": dict.fromkeys(_SCORES, reason)}
    return scores


def _trained_alone(rows: SurvivalRows, plan: TrainingPlan, start: Floats, rounds: int) -> Floats:
    training, learner = rows.training(), learner_of(plan)
    if not learner.count(training):
        return start
    budget = replace(plan.local, steps=rounds * plan.steps, proximal=0.0)
    slope = learner.slope(training, plan.l2)
    return start + train(start, slope, len(training), budget, os.urandom).change


def _value(name: str, compute: Callable[[], float], reasons: dict[str, str]) -> float | None:
    try:
        value = compute()
    except (ValueError, NoComparablePairException) as error:
        reasons[name] = str(error).strip()
        return None
    if not np.isfinite(value):
        reasons[name] = "no pair or no row carries weight"
        return None
    return value


def _inside_follow_up(grid: Floats, train_rows: SurvivalRows, test_rows: SurvivalRows) -> Floats:
    """The library asks for times within the test follow-up, short of its end, and known censoring there."""
    if not len(train_rows) or not len(test_rows):
        return grid[:0]
    low = max(train_rows.time.min(), test_rows.time.min())
    high = min(train_rows.time.max(), test_rows.time.max())
    return np.asarray(grid[(grid >= low) & (grid < high)], dtype=np.float64)


def _outcome(event: npt.NDArray[np.bool_], time: Floats) -> npt.NDArray[np.void]:
    outcome: npt.NDArray[np.void] = Surv.from_arrays(event, time)
    return outcome


def _concordance(test_rows: SurvivalRows, risk: Floats) -> float:
    if not len(test_rows):
        raise ValueError("no held-out row")
    return float(concordance_index_censored(test_rows.event, test_rows.time, risk)[0])


def _ipcw_concordance(
    train_rows: SurvivalRows, test_rows: SurvivalRows, risk: Floats, tau: float | None
) -> float:
    if tau is None:
        raise ValueError("no time lies within the follow-up of training and held-out rows")
    known, scored = (_outcome(rows.event, rows.time) for rows in (train_rows, test_rows))
    with np.errstate(invalid="ignore"):
        return float(concordance_index_ipcw(known, scored, risk, tau=tau)[0])


def _integrated_brier(
    survival: Callable[[Floats], Floats], train_rows: SurvivalRows, test_rows: SurvivalRows, grid: Floats
) -> float:
    if len(grid) < _FEWEST_TIMES:
        raise ValueError("fewer than two times lie within the follow-up of training and held-out rows")
    curves = survival(grid)
    # Censoring beyond the training follow-up is unknown to the library. A row still followed there counts
    # only as event-free at every time of the grid, so ending its follow-up there changes nothing.
    last = train_rows.time.max()
    event, time = test_rows.event & (test_rows.time <= last), np.minimum(test_rows.time, last)
    known = _outcome(train_rows.event, train_rows.time)
    return float(integrated_brier_score(known, _outcome(event, time), curves, grid))
