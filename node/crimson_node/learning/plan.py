"""The training plan: what a model's policy entry tells every node to compute, as one canonical object.

A node runs nothing but the tasks named here on columns named here; a plan carries no code.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from crimson_node.data.declaration import DatasetDeclaration
from crimson_node.data.rows import Floats
from crimson_node.learning.cox import CoxPlan
from crimson_protocol.wire.records import Items, Maybe, Nested, OneOf, Record, Text, UInt, itself

MICRO = 1_000_000
MAX_PLAN = 1 << 20
TASKS = ("moments", "cox", "cox-score")

Column = Text(256)


@dataclass(frozen=True)
class Levels(Record):
    """A text column and the levels it may have; the first is the baseline of its one-hot coding."""

    column: Annotated[str, Column]
    levels: Annotated[tuple[str, ...], Items(Column, 1024, itself)]


@dataclass(frozen=True)
class TrainingPlan(Record):
    """One task, its columns in the order of the coefficients, and its settings in millionths.

    scale_model: the model whose released moments standardise the features, or null. grid: public times
    at which the Brier score is summed, in millionths of the time column's unit.
    """

    task: Annotated[str, OneOf(TASKS)]
    time_column: Annotated[str, Column]
    event_column: Annotated[str, Column]
    numeric: Annotated[tuple[str, ...], Items(Column, 4096)]
    categorical: Annotated[tuple[Levels, ...], Items(Nested(Levels), 4096)]
    steps: Annotated[int, UInt(100_000)]
    learning_rate_micro: Annotated[int, UInt(2**40)]
    l2_micro: Annotated[int, UInt(2**40)]
    weights: Annotated[str, OneOf(("rows", "equal"))]
    scale_model: Annotated[str | None, Maybe(Text(64))]
    grid_micro: Annotated[tuple[int, ...], Items(UInt(2**62), 256, itself)]

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
