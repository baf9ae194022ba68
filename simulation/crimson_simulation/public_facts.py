"""What a federation would declare in public before it trains, and a simulation reads off the pooled file instead.

Levels, ranges, a horizon and the size of a cohort are no secrets where a study's protocol fixes them; taken from rows
they are, so every run that leans on them under a privacy budget says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np

from crimson_node.data.rows import Floats, SurvivalRows
from crimson_node.data.table import survival_rows
from crimson_node.learning.plan import MICRO, Range
from crimson_simulation.dataset import PooledData
from crimson_simulation.pooled_metrics import follow_up_grid

DIGITS = 2


@dataclass(frozen=True)
class PublicFacts:
    """ranges: low and high end of each numeric column, micro. horizon: time up to which a hazard is modelled. rows,
    largest: training rows in all and of the largest site, rounded up to two digits. grid: times of the Brier score."""

    ranges: tuple[Range, ...]
    horizon: float
    rows: int
    largest: int
    grid_micro: tuple[int, ...]

    def cuts(self, bins: int) -> tuple[int, ...]:
        """Ends of `bins` even time bins up to the horizon, in millionths."""
        ends = self.horizon * np.arange(1, bins + 1) / bins
        return tuple(sorted({round(float(end) * MICRO) for end in ends}))


def public_facts(pooled: PooledData) -> PublicFacts:
    """The declaration that the pooled file stands in for."""
    parts = [survival_rows(site.table(), pooled.declaration) for site in pooled.sites]
    together = SurvivalRows.together(parts)
    training = together.training()
    times = follow_up_grid(training)
    numeric = together.features[:, : len(pooled.declaration.numeric)]
    return PublicFacts(
        ranges=_ranges(numeric),
        horizon=_up(float(training.time.max())),
        rows=int(_up(len(training))),
        largest=int(_up(max(int(site.train.sum()) for site in parts))),
        grid_micro=tuple(sorted({round(float(moment) * MICRO) for moment in times})),
    )


def _ranges(numeric: Floats) -> tuple[Range, ...]:
    """Each column's extremes, rounded outwards; a column of one value gets a range of one unit, and one of 0 and 1
    alone keeps them, as an indicator is coded."""
    found: list[Range] = []
    for column in numeric.T:
        low, high = -_up(-float(column.min())), _up(float(column.max()))
        if np.isin(column, (0, 1)).all():
            low, high = -1.0, 1.0
        found.append(Range(round(low * MICRO), round((high if high > low else low + 1) * MICRO)))
    return tuple(found)


def _up(value: float) -> float:
    """The next number with two digits, upwards."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (floor(log10(abs(value))) - DIGITS + 1)
    return ceil(value / unit - 1e-9) * unit


def names_of_ranges(columns: Sequence[str]) -> str:
    """For a warning: the first columns whose ranges were read off the file."""
    shown = ", ".join(columns[:3])
    return shown + (f" and {len(columns) - 3} more" if len(columns) > 3 else "")
