"""Centring and scaling of features with moments that add up over sites."""

from dataclasses import dataclass

import numpy as np

from crimson_node.data.rows import Floats
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

# Below this share of the mean square a variance is indistinguishable from the rounding of its formula.
_TINY_VARIANCE = 1e-10


def site_moments(features: Floats) -> tuple[int, Floats, Floats]:
    """Count, sum (d,) and sum of squares (d,) of the features (rows, d) of one site's training rows."""
    return len(features), features.sum(axis=0), np.square(features).sum(axis=0)


@dataclass(frozen=True, eq=False)
class Standardiser:
    """`mean` (d,) and `scale` (d,), both in the units of the features; scale is above 0."""

    mean: Floats
    scale: Floats

    @classmethod
    def from_moments(cls, count: float, total: Floats, squares: Floats) -> "Standardiser":
        """From moments summed over sites: mean = sum/n, variance = squares/n - mean² (population).

        The scale is 1 where the variance is 0 or lost in rounding. Raises CallerFault where the count is
        not positive or a moment is not finite.
        """
        if not (count > 0 and np.isfinite(total).all() and np.isfinite(squares).all()):
            raise CallerFault(Refusal.NOT_FINITE, "moments need a positive count and finite sums")
        mean = total / count
        mean_square = squares / count
        variance = mean_square - np.square(mean)
        varies = variance > _TINY_VARIANCE * mean_square
        return cls(mean, np.sqrt(np.where(varies, variance, 1.0)))

    def apply(self, features: Floats) -> Floats:
        """(features - mean) / scale, shape (rows, d)."""
        return (features - self.mean) / self.scale
