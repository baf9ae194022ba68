"""The policy's training plan as a node reads it: the dataset, the gradient steps and the time grid in it."""

import numpy as np

from crimson_node.data.declaration import DatasetDeclaration
from crimson_node.data.rows import Floats
from crimson_node.learning.cox import CoxPlan
from crimson_protocol.policy import plan
from crimson_protocol.policy.plan import MAX_PLAN, MICRO, TASKS, Levels

__all__ = ["MAX_PLAN", "MICRO", "TASKS", "Levels", "TrainingPlan"]


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
    def cox(self) -> CoxPlan:
        """The gradient steps of the task `cox`."""
        return CoxPlan(self.steps, self.learning_rate_micro / MICRO, self.l2_micro / MICRO)

    @property
    def grid(self) -> Floats:
        """The public time grid in the unit of the time column."""
        return np.array(self.grid_micro, np.float64) / MICRO
