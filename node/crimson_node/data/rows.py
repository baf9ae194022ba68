"""Survival rows in memory, ready for training and scoring."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SurvivalRows:
    """One site's rows, or several sites' rows together.

    `features` (rows, d) float64; `time` (rows,) float64, 0 or more, in the unit of the file; `event` (rows,)
    bool, False where the follow-up ended without the event; `train` (rows,) bool, False where the row is
    held out for scoring.
    """

    features: Floats
    time: Floats
    event: Flags
    train: Flags

    def __len__(self) -> int:
        return len(self.time)

    def training(self) -> "SurvivalRows":
        """The rows a model may learn from."""
        return self.where(self.train)

    def held_out(self) -> "SurvivalRows":
        """The rows kept for scoring."""
        return self.where(~self.train)

    def where(self, chosen: Flags) -> "SurvivalRows":
        """The rows whose flag in `chosen` (rows,) is set, in the same order."""
        return SurvivalRows(self.features[chosen], self.time[chosen], self.event[chosen], self.train[chosen])

    def at(self, places: npt.NDArray[np.int64]) -> "SurvivalRows":
        """The rows at `places`, in that order."""
        return SurvivalRows(self.features[places], self.time[places], self.event[places], self.train[places])

    def with_features(self, features: Floats) -> "SurvivalRows":
        """The same rows with other features (rows, d), for instance standardised ones."""
        return replace(self, features=features)

    @staticmethod
    def together(parts: Iterable["SurvivalRows"]) -> "SurvivalRows":
        """The rows of all parts, one after another. At least one part; all with the same features."""
        several = list(parts)
        return SurvivalRows(
            np.concatenate([rows.features for rows in several]),
            np.concatenate([rows.time for rows in several]),
            np.concatenate([rows.event for rows in several]),
            np.concatenate([rows.train for rows in several]),
        )
