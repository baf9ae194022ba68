"""Features scaled by public ranges: what a plan declares, and nothing that a row was looked at for.

Means and deviations are statistics of rows, and releasing them costs privacy; a range from the definition of a
column (age 0 to 100) costs none.
"""

from collections.abc import Sequence

import numpy as np

from crimson_node.data.rows import Floats, SurvivalRows
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal


def scaled_by_ranges(rows: SurvivalRows, ranges: Sequence[tuple[float, float]]) -> SurvivalRows:
    """The rows with numeric column k as (x - middle) / half-range of ranges[k], held to [-1, 1].

    Numeric columns come first in the features and there is one (low, high) for each, in the column's unit; the
    one-hot columns behind them stay 0 and 1. Raises CallerFault where a range is empty or not finite, or where there
    are more ranges than features.
    """
    bounds = np.array(ranges, dtype=np.float64).reshape(len(ranges), 2)
    low, high = bounds[:, 0], bounds[:, 1]
    if len(ranges) > rows.features.shape[1]:
        raise CallerFault(Refusal.WRONG_LENGTH, "there are more ranges than numeric columns")
    if not (np.isfinite(bounds).all() and (low < high).all()):
        raise CallerFault(Refusal.OUT_OF_RANGE, "a range needs a low end below its high end")
    return rows.with_features(_scaled(rows.features, low, high))


def _scaled(features: Floats, low: Floats, high: Floats) -> Floats:
    numeric = (features[:, : len(low)] - 0.5 * (low + high)) / (0.5 * (high - low))
    return np.concatenate([np.clip(numeric, -1.0, 1.0), features[:, len(low) :]], axis=1)
