"""The policy's training plan as a node reads it: the dataset, the gradient steps and the time grid in it."""

import numpy as np

from crimson_node.data.declaration import DatasetDeclaration
from crimson_node.data.rows import Floats
from crimson_node.learning.hazard import HazardModel
from crimson_node.learning.local_steps import LocalPlan
from crimson_protocol.policy import plan
from crimson_protocol.policy.plan import MAX_PLAN, MICRO, TASKS, TRAINED, Levels, Range

__all__ = ["MAX_PLAN", "MICRO", "TASKS", "TRAINED", "Levels", "Range", "TrainingPlan"]


class TrainingPlan(plan.TrainingPlan):
    """One task, its columns in the order of the coefficients, and its settings in millionths.

    The record and its bytes are the protocol's; this adds what the node makes of them.
    """

    @property
    def declaration(self) -> DatasetDeclaration:
        """The dataset that a site needs for this plan."""
        coded = tuple((item.column, item.levels) for item in self.categorical)
        return DatasetDeclaration(self.time_column, self.event_column, self.numeric, coded)

    @property
    def local(self) -> LocalPlan:
        """The gradient steps of a trained task."""
        return LocalPlan(
            self.steps,
            self.learning_rate_micro / MICRO,
            self.batch,
            self.proximal_micro / MICRO,
            self.momentum_micro / MICRO,
        )

    @property
    def l2(self) -> float:
        """Weight of the penalty."""
        return self.l2_micro / MICRO

    @property
    def hazard(self) -> HazardModel:
        """The model of the tasks `hazard` and `hazard-score`."""
        cuts = np.array(self.cuts_micro, np.float64) / MICRO
        return HazardModel(self.dimension, cuts, self.hidden)

    @property
    def public_ranges(self) -> tuple[tuple[float, float], ...]:
        """Low and high end of each numeric column, where the plan scales by ranges."""
        return tuple((item.low_micro / MICRO, item.high_micro / MICRO) for item in self.ranges)

    @property
    def grid(self) -> Floats:
        """The public time grid in the unit of the time column."""
        return np.array(self.grid_micro, np.float64) / MICRO
