"""Step curves of follow-up data: censoring (Kaplan-Meier) and cumulative hazard (Breslow)."""

from dataclasses import dataclass

import numpy as np

from crimson_node.data.rows import Flags, Floats, SurvivalRows

# exp(±30) already separates certain from impossible; without a bound exp would overflow.
_LOG_HAZARD_BOUND = 30.0


@dataclass(frozen=True, eq=False)
class StepCurve:
    """A right-continuous step function: `start` before `at[0]`, then `value[k]` from `at[k]` on."""

    at: Floats
    value: Floats
    start: float

    def __call__(self, times: Floats) -> Floats:
        """Values at `times`, same shape; beyond the last step the last value is kept."""
        padded = np.concatenate([[self.start], self.value])
        return np.asarray(padded[np.searchsorted(self.at, times, side="right")], dtype=np.float64)


def censoring_curve(time: Floats, event: Flags) -> StepCurve:
    """G(t), the Kaplan-Meier probability of not being censored up to and including t.

    Time (rows,) and event (rows,). An event goes before a censoring at the same time, so a row with an
    event at t is no longer at risk of being censored at t (E. Graf et al., Statistics in Medicine 18, 1999).
    """
    at, place = np.unique(time, return_inverse=True)
    events = np.bincount(place, weights=event, minlength=len(at))
    censored = np.bincount(place, weights=~event, minlength=len(at))
    at_risk = np.cumsum((events + censored)[::-1])[::-1] - events
    hazard = np.divide(censored, at_risk, out=np.zeros(len(at)), where=censored > 0)
    kept = np.cumprod(1.0 - hazard).astype(np.float64)
    return StepCurve(at, kept, 1.0)


def cumulative_hazard(time: Floats, event: Flags, log_hazard: Floats) -> StepCurve:
    """H0(t) = sum over event times s <= t of events(s) / sum over rows still at risk at s of exp(log_hazard).

    All arguments (rows,). N. Breslow, discussion of D. R. Cox, JRSS B 34, 1972.
    """
    at, place = np.unique(time, return_inverse=True)
    events = np.bincount(place, weights=event, minlength=len(at))
    weight = np.bincount(place, weights=np.exp(log_hazard), minlength=len(at))
    at_risk = np.cumsum(weight[::-1])[::-1]
    return StepCurve(at, np.cumsum(events / at_risk), 0.0)


def survival_curves(training: SurvivalRows, training_risk: Floats, risk: Floats, grid: Floats) -> Floats:
    """S(t) = exp(-H0(t) exp(risk)), shape (len(risk), len(grid)), with H0 from the training rows.

    `training_risk` and `risk` are log hazards on one scale, one value per row; at least one training row.
    """
    centre = np.median(training_risk)
    bounded = np.clip(training_risk - centre, -_LOG_HAZARD_BOUND, _LOG_HAZARD_BOUND)
    baseline = cumulative_hazard(training.time, training.event, bounded)(grid)
    relative = np.exp(np.clip(risk - centre, -_LOG_HAZARD_BOUND, _LOG_HAZARD_BOUND))
    return np.asarray(np.exp(-relative[:, None] * baseline[None, :]), dtype=np.float64)
