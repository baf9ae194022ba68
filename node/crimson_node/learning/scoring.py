"""What a federation may learn about its model: sums over each site's held-out rows.

Every lane is a sum of non-negative terms, so sites add up under secure aggregation. Pairs are formed within
a site only, and censoring and baseline hazard are the site's own, from its training rows. Sources: Harrell's
concordance (F. Harrell et al., Statistics in Medicine 15, 1996); concordance weighted by the inverse
probability of censoring up to a time tau (H. Uno et al., Statistics in Medicine 30, 2011); Brier score with
the same weights (E. Graf et al., Statistics in Medicine 18, 1999). Definitions of ties as in scikit-survival.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crimson_node.data.rows import Floats, SurvivalRows
from crimson_node.learning.curves import StepCurve, censoring_curve, survival_curves
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

# No probability of staying uncensored counts as less than this: one late event of a small site would
# otherwise outweigh all others, and at 0 its weight would be infinite.
CENSORING_FLOOR = 0.05
# Scores this close are tied, as in scikit-survival.
_TIED = 1e-8
# Events handled at a time, so that memory grows with rows and not with events times rows.
_EVENTS_AT_A_TIME = 256
_PAIR_LANES = ("concordant", "comparable", "tied_risk", "ipcw_concordant", "ipcw_comparable")


@dataclass(frozen=True)
class SiteScore:
    """One site's sums. Pair counts are whole numbers; `ipcw_*` are pairs times 1/G(t)² and reach at most
    1/CENSORING_FLOOR² per pair, `brier` (one per grid time) at most 1/CENSORING_FLOOR per row. `rows` counts
    held-out rows; `scored` is 1 where the site could be scored, else 0 and every other field too."""

    concordant: int
    comparable: int
    tied_risk: int
    ipcw_concordant: float
    ipcw_comparable: float
    brier: tuple[float, ...]
    rows: int
    scored: int

    def to_lanes(self) -> list[float]:
        """The sums as non-negative numbers in the order of `lane_names`."""
        pairs = [float(getattr(self, name)) for name in _PAIR_LANES]
        return [*pairs, *self.brier, float(self.rows), float(self.scored)]


def lane_names(grid: Floats) -> list[str]:
    """Names of the lanes for a public time grid (times,), in order; len(grid) + 7 of them."""
    return [*_PAIR_LANES, *(f"brier[{time:g}]" for time in grid), "rows", "scored"]


def score_site(risk: Floats, rows: SurvivalRows, grid: Floats) -> SiteScore:
    """Scores one site's held-out rows.

    `risk` (rows,) is the log hazard the model gives each row, training rows included; `grid` (times,) is
    public, ascending, in the unit of the rows' time; its last time is tau, up to which the weighted
    concordance counts. A site without held-out rows, or without a training event and hence without a
    baseline hazard, contributes zeros. Raises CallerFault on a risk that is not finite or an unsorted grid.
    """
    if risk.shape != rows.time.shape or not np.isfinite(risk).all():
        raise CallerFault(Refusal.NOT_FINITE, "scoring needs one finite risk per row")
    if len(grid) == 0 or not (np.isfinite(grid).all() and (np.diff(grid) > 0).all()):
        raise CallerFault(Refusal.OUT_OF_RANGE, "the time grid must be finite and ascending")
    training, held_out = rows.training(), rows.held_out()
    if not len(held_out) or not training.event.any():
        return SiteScore(0, 0, 0, 0.0, 0.0, (0.0,) * len(grid), 0, 0)
    test_risk = risk[~rows.train]
    censoring = censoring_curve(training.time, training.event)
    curves = survival_curves(training, risk[rows.train], test_risk, grid)
    concordant, comparable, tied = _pairs_per_event(held_out, test_risk)
    event_time = held_out.time[held_out.event]
    weight = np.where(event_time < grid[-1], 1.0 / np.square(_uncensored(censoring, event_time)), 0.0)
    return SiteScore(
        concordant=int(concordant.sum()),
        comparable=int(comparable.sum()),
        tied_risk=int(tied.sum()),
        ipcw_concordant=float(weight @ (concordant + 0.5 * tied)),
        ipcw_comparable=float(weight @ comparable),
        brier=tuple(float(value) for value in _brier_sums(held_out, curves, censoring, grid)),
        rows=len(held_out),
        scored=1,
    )


def combine(lanes: Sequence[float], grid: Floats) -> dict[str, float | int | None]:
    """The scores behind lanes summed over sites, in the order of `lane_names`.

    Returns concordance and ipcw_concordance (0..1, above 0.5 is better than chance), integrated_brier (mean
    of the Brier score over the grid by the trapezoidal rule, lower is better), sites_scored and rows. A
    score is None where nothing could be counted. Raises CallerFault on the wrong number of lanes.
    """
    names = lane_names(grid)
    if len(lanes) != len(names):
        raise CallerFault(Refusal.WRONG_LENGTH, f"expected {len(names)} score lanes")
    concordant, comparable, tied, ipcw_concordant, ipcw_comparable = lanes[: len(_PAIR_LANES)]
    rows, scored = lanes[-2:]
    brier = np.asarray(lanes[len(_PAIR_LANES) : -2], dtype=np.float64)
    area = float(np.trapezoid(brier, grid)) if len(grid) > 1 else 0.0
    span = float(grid[-1] - grid[0])
    return {
        "concordance": _ratio(concordant + 0.5 * tied, comparable),
        "ipcw_concordance": _ratio(ipcw_concordant, ipcw_comparable),
        "integrated_brier": _ratio(area, rows * span),
        "sites_scored": round(scored),
        "rows": round(rows),
    }


def _ratio(numerator: float, denominator: float) -> float | None:
    return float(numerator / denominator) if denominator > 0 else None


def _uncensored(censoring: StepCurve, times: Floats) -> Floats:
    return np.maximum(censoring(times), CENSORING_FLOOR)


def _pairs_per_event(rows: SurvivalRows, risk: Floats) -> tuple[Floats, Floats, Floats]:
    """For each event (events,): concordant, comparable and tied pairs with rows that outlived it.

    A row censored at the time of the event outlived it; two events at one time are not comparable.
    """
    events = np.flatnonzero(rows.event)
    counts = np.zeros((3, len(events)))
    for start in range(0, len(events), _EVENTS_AT_A_TIME):
        some = events[start : start + _EVENTS_AT_A_TIME]
        own_time = rows.time[some][:, None]
        outlived = (rows.time > own_time) | ((rows.time == own_time) & ~rows.event)
        ahead = risk[some][:, None] - risk
        tied = outlived & (np.abs(ahead) <= _TIED)
        part = slice(start, start + len(some))
        counts[0, part] = (outlived & (ahead > 0) & ~tied).sum(axis=1)
        counts[1, part] = outlived.sum(axis=1)
        counts[2, part] = tied.sum(axis=1)
    return counts[0], counts[1], counts[2]


def _brier_sums(rows: SurvivalRows, curves: Floats, censoring: StepCurve, grid: Floats) -> Floats:
    """For each grid time t: S(t)²/G(T) over events up to t, plus (1 - S(t))²/G(t) over rows beyond t."""
    beyond = rows.time[:, None] > grid[None, :]
    happened = ~beyond & rows.event[:, None]
    case = np.square(curves) * happened / _uncensored(censoring, rows.time)[:, None]
    control = np.square(1.0 - curves) * beyond / _uncensored(censoring, grid)[None, :]
    return np.asarray((case + control).sum(axis=0), dtype=np.float64)
