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
import torch

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
    with torch.no_grad():
        return float(_penalised(_as_tensor(theta, rows), _RiskSets.of(rows), l2))


def gradient(theta: Floats, rows: SurvivalRows, l2: float = 0.0) -> Floats:
    """dL/dtheta (d,) at theta (d,)."""
    return _gradient(_as_tensor(theta, rows), _RiskSets.of(rows), l2).numpy()


def slopes(rows: SurvivalRows, l2: float = 0.0) -> Callable[[Floats], Floats]:
    """dL/dtheta (d,) at any theta (d,); the risk sets are made once."""
    risk_sets = _RiskSets.of(rows)
    return lambda theta: _gradient(_as_tensor(theta, rows), risk_sets, l2).numpy()


def train(theta: Floats, rows: SurvivalRows, plan: CoxPlan) -> Floats:
    """Coefficients (d,) after `plan.steps` full-batch gradient steps from theta (d,).

    A site whose training rows hold no event has no likelihood and returns theta unchanged. Raises
    CallerFault where shapes differ or the steps diverge.
    """
    point = _as_tensor(theta, rows)
    risk_sets = _RiskSets.of(rows)
    if not risk_sets.events:
        return point.numpy().copy()
    for _ in range(plan.steps):
        point = point - plan.learning_rate * _gradient(point, risk_sets, plan.l2)
    if not bool(torch.isfinite(point).all()):
        raise CallerFault(Refusal.NOT_FINITE, "Cox training diverged: standardise or lower the learning rate")
    return point.numpy()


@dataclass(frozen=True, eq=False)
class _RiskSets:
    """Training rows by descending time, so that a risk set is a prefix.

    `features` (rows, d); `event` (rows,) 0/1; `ties` (rows,): number of events at a row's time, kept at the
    last row of that time, where the prefix holds everybody who shares the risk set.
    """

    features: torch.Tensor
    event: torch.Tensor
    ties: torch.Tensor
    events: int

    @classmethod
    def of(cls, rows: SurvivalRows) -> "_RiskSets":
        training = rows.training()
        order = np.argsort(-training.time, kind="stable")
        late_first = -training.time[order]
        event = training.event[order].astype(np.float64)
        last_of_time = np.searchsorted(late_first, late_first, side="right") - 1
        ties = np.bincount(last_of_time, weights=event, minlength=len(order)).astype(np.float64)
        features = np.ascontiguousarray(training.features[order])
        as_torch = torch.from_numpy
        return cls(as_torch(features), as_torch(event), as_torch(ties), int(event.sum()))


def _as_tensor(theta: Floats, rows: SurvivalRows) -> torch.Tensor:
    if theta.shape != (rows.features.shape[1],):
        raise CallerFault(Refusal.WRONG_LENGTH, "one coefficient per feature is needed")
    return torch.from_numpy(np.array(theta, dtype=np.float64))


def _penalised(theta: torch.Tensor, risk_sets: _RiskSets, l2: float) -> torch.Tensor:
    penalty = 0.5 * l2 * theta.square().sum()
    if not risk_sets.events:
        return penalty
    log_hazard = risk_sets.features @ theta
    log_risk = torch.logcumsumexp(log_hazard, dim=0)
    # Dense weights instead of picking rows by index: the backward pass then adds in a fixed order.
    negative = (risk_sets.ties * log_risk).sum() - (risk_sets.event * log_hazard).sum()
    return negative / risk_sets.events + penalty


def _gradient(theta: torch.Tensor, risk_sets: _RiskSets, l2: float) -> torch.Tensor:
    point = theta.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(_penalised(point, risk_sets, l2), point)
    return slope
