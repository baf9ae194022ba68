"""The training plan: what a model's policy entry tells every node to compute, as one canonical object.

A node runs nothing but the tasks named here on columns named here; a plan carries no code. Governors need
the arithmetic of its lanes to write a policy, nodes to check it: it stands here, once.
"""

from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.wire.records import Items, Maybe, Nested, OneOf, Record, Text, UInt, itself

MICRO = 1_000_000
MAX_PLAN = 1 << 20
TASKS = ("moments", "cox", "cox-score")
LOSS_COUNTERS = 2
"""Counters of the task `cox`: training events, and the base model's loss summed over them."""
PAIR_COUNTERS = 5
"""Counters of the task `cox-score` before its grid: three kinds of pairs, and two of them weighted."""
SITE_COUNTERS = 2
"""Counters of the task `cox-score` behind its grid: held-out rows, and 1 if the site was scored."""

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
    def columns(self) -> tuple[str, ...]:
        """Every column a site's file needs, the split aside: time, event, numeric, categorical."""
        return (
            self.time_column,
            self.event_column,
            *self.numeric,
            *(item.column for item in self.categorical),
        )

    @property
    def dimension(self) -> int:
        """Number of features after one-hot coding, which drops the first level of each text column."""
        return len(self.numeric) + sum(len(item.levels) - 1 for item in self.categorical)

    @property
    def parameters(self) -> int:
        """Parameter lanes of an update: one per feature where a model is trained, else none."""
        return self.dimension if self.task == "cox" else 0

    @property
    def counters(self) -> int:
        """Exact counters of an update (docs/PROTOCOL.md, "Training tasks")."""
        match self.task:
            case "moments":
                return 1 + 2 * self.dimension
            case "cox":
                return LOSS_COUNTERS
            case _:
                return PAIR_COUNTERS + len(self.grid_micro) + SITE_COUNTERS
