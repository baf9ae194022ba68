"""The training plan: what a model's policy entry tells every node to compute, as one canonical object.

A node runs nothing but the tasks named here on columns named here; a plan carries no code. Governors need
the arithmetic of its lanes to write a policy, nodes to check it: it stands here, once.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from crimson_protocol.wire.records import (
    Flag,
    Int,
    Items,
    Maybe,
    Nested,
    OneOf,
    Record,
    Text,
    UInt,
    itself,
)

MICRO = 1_000_000
MAX_PLAN = 1 << 20
TASKS = ("moments", "cox", "cox-score", "hazard", "hazard-score")
TRAINED = ("cox", "hazard")
LOSS_COUNTERS = 2
"""Counters of a trained task: what its loss is a mean over (events for `cox`, rows for `hazard`), and the base model's
loss summed over them."""
PAIR_COUNTERS = 5
"""Counters of a score before its grid: three kinds of pairs, and two of them weighted."""
SITE_COUNTERS = 2
"""Counters of a score behind its grid: held-out rows, and 1 if the site was scored."""

Column = Text(256)


@dataclass(frozen=True)
class Levels(Record):
    """A text column and the levels it may have; the first is the baseline of its one-hot coding."""

    column: Annotated[str, Column]
    levels: Annotated[tuple[str, ...], Items(Column, 1024, itself)]


@dataclass(frozen=True)
class Range(Record):
    """The public range of one numeric column, in millionths of its unit: nothing that a file was looked at for."""

    low_micro: Annotated[int, Int(2**53)]
    high_micro: Annotated[int, Int(2**53)]


@dataclass(frozen=True)
class TrainingPlan(Record):
    """One task, its columns in the order of the coefficients, and its settings in millionths.

    scale_model: the model whose released moments standardise the features, or null. grid: public times
    at which the Brier score is summed, in millionths of the time column's unit. batch: rows of a gradient step, 0 for
    all; `steps` then counts passes over the rows. proximal, momentum: of the local steps. cuts: upper ends of the
    hazard's time bins, like the grid. hidden: widths of hidden layers, none for a linear model. ranges: one per
    numeric column, or none; they scale features where released moments would cost privacy. losses: whether updates
    carry the base model's loss as counters.
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
    batch: Annotated[int, UInt(2**31)] = 0
    proximal_micro: Annotated[int, UInt(2**40)] = 0
    momentum_micro: Annotated[int, UInt(MICRO - 1)] = 0
    cuts_micro: Annotated[tuple[int, ...], Items(UInt(2**62), 256, itself)] = ()
    hidden: Annotated[tuple[int, ...], Items(UInt(4096), 8)] = ()
    ranges: Annotated[tuple[Range, ...], Items(Nested(Range), 4096)] = ()
    losses: Annotated[bool, Flag()] = True

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
        """Parameter lanes of an update; none where nothing is trained.

        cox: one per feature. hazard: one per feature and one intercept per bin, or the weights and biases of a
        network from the features over the hidden layers to the bins.
        """
        match self.task:
            case "cox":
                return self.dimension
            case "hazard" if self.hidden:
                widths = (self.dimension, *self.hidden, len(self.cuts_micro))
                return sum((one + 1) * next_ for one, next_ in pairwise(widths))
            case "hazard":
                return self.dimension + len(self.cuts_micro)
            case _:
                return 0

    @property
    def counters(self) -> int:
        """Exact counters of an update (docs/PROTOCOL.md, "Training tasks")."""
        match self.task:
            case "moments":
                return 1 + 2 * self.dimension
            case "cox" | "hazard":
                return LOSS_COUNTERS if self.losses else 0
            case _:
                return PAIR_COUNTERS + len(self.grid_micro) + SITE_COUNTERS
