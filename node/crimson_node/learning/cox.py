"""Linear Cox regression on one site's own risk sets.

Negative log partial likelihood with Breslow's handling of ties (N. Breslow, Biometrics 30, 1974), per event:

    L(theta) = -1/E * sum over events i of [x_i theta - log(sum over j with t_j >= t_i of exp(x_j theta))]
               + l2/2 * |theta|²

Summed over sites, each with its own risk sets, this is the partial likelihood stratified by site. Only
training rows enter. Nothing here draws random numbers; the same rows give the same coefficients.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crimson_node.data.rows import Floats, SurvivalRows
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal


@dataclass(frozen=True)
class CoxPlan:
    """Full-batch gradient steps per round. Raises CallerFault on a plan that cannot be run.

    On standardised features a step is stable while learning_rate < 2 / (largest eigenvalue of the Hessian),
    which for correlated one-hot columns at a small site can be as low as 0.2.
    """

    steps: int
    learning_rate: float
    l2: float

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise CallerFault(Refusal.OUT_OF_RANGE, "a Cox plan needs at least one step")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise CallerFault(Refusal.OUT_OF_RANGE, "the learning rate must be finite and above 0")
        if not (math.isfinite(self.l2) and self.l2 >= 0):
            raise CallerFault(Refusal.OUT_OF_RANGE, "l2 must be finite and not negative")


def loss(theta: Floats, rows: SurvivalRows, l2: float = 0.0) -> float:
    """L(theta) of the module's formula for theta (d,), without unit; with no event only the l2 term."""
    return _RiskSets.of(rows).loss(_checked(theta, rows), l2)


def gradient(theta: Floats, rows: SurvivalRows, l2: float = 0.0) -> Floats:
    """dL/dtheta (d,) at theta (d,)."""
    return _RiskSets.of(rows).slope(_checked(theta, rows), l2)


def slopes(rows: SurvivalRows, l2: float = 0.0) -> Callable[[Floats], Floats]:
    """dL/dtheta (d,) at any theta (d,); the risk sets are made once."""
    risk_sets = _RiskSets.of(rows)
    return lambda theta: risk_sets.slope(_checked(theta, rows), l2)


def train(theta: Floats, rows: SurvivalRows, plan: CoxPlan) -> Floats:
    """Coefficients (d,) after `plan.steps` full-batch gradient steps from theta (d,).

    A site whose training rows hold no event has no likelihood and returns theta unchanged. Raises
    CallerFault where shapes differ or the steps diverge.
    """
    point = _checked(theta, rows)
    risk_sets = _RiskSets.of(rows)
    if not risk_sets.events:
        return point.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(plan.steps):
            point = point - plan.learning_rate * risk_sets.slope(point, plan.l2)
    if not np.isfinite(point).all():
        raise CallerFault(Refusal.NOT_FINITE, "Cox training diverged: standardise or lower the learning rate")
    return point


@dataclass(frozen=True, eq=False)
class _RiskSets:
    """Training rows by descending time, so that a risk set is a prefix.

    `features` (rows, d); `event` (rows,) 0/1; `ties` (rows,): number of events at a row's time, kept at the
    last row of that time, where the prefix holds everybody who shares the risk set.
    """

    features: Floats
    event: Floats
    ties: Floats
    events: int

    @classmethod
    def of(cls, rows: SurvivalRows) -> "_RiskSets":
        training = rows.training()
        order = np.argsort(-training.time, kind="stable")
        late_first = -training.time[order]
        event = training.event[order].astype(np.float64)
        last_of_time = np.searchsorted(late_first, late_first, side="right") - 1
        ties = np.bincount(last_of_time, weights=event, minlength=len(order)).astype(np.float64)
        return cls(np.ascontiguousarray(training.features[order]), event, ties, int(event.sum()))

    def loss(self, theta: Floats, l2: float) -> float:
        """L(theta)."""
        penalty = 0.5 * l2 * float(theta @ theta)
        if not self.events:
            return penalty
        log_hazard = self.features @ theta
        # Logarithms of sums, term by term: hazards may differ by more than a float's range.
        log_risk = np.logaddexp.accumulate(log_hazard)
        return float(self.ties @ log_risk - self.event @ log_hazard) / self.events + penalty

    def slope(self, theta: Floats, l2: float) -> Floats:
        """dL/dtheta: row j counts with the sum, over the events whose risk set it is in, of its share of the hazard."""
        if not self.events:
            return np.asarray(l2 * theta)
        log_hazard = self.features @ theta
        log_risk = np.logaddexp.accumulate(log_hazard)
        with np.errstate(divide="ignore"):
            per_event = np.log(self.ties) - log_risk
        shares = np.exp(log_hazard + np.logaddexp.accumulate(per_event[::-1])[::-1])
        return np.asarray((shares - self.event) @ self.features / self.events + l2 * theta)


def _checked(theta: Floats, rows: SurvivalRows) -> Floats:
    if theta.shape != (rows.features.shape[1],):
        raise CallerFault(Refusal.WRONG_LENGTH, "one coefficient per feature is needed")
    return np.array(theta, dtype=np.float64)
