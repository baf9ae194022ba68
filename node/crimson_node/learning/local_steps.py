"""Gradient steps at one site, with momentum, a proximal term and batches, and what FedNova divides them by.

With x the start, w the point, g the slope of the site's loss, r momentum, m the proximal weight, e the rate:

    v <- r v + g(w) + m (w - x),  w <- w - e v

m = 0 and r = 0 are plain steps (FedAvg); m > 0 is FedProx (T. Li et al., MLSys 2020). After T steps the change is
-e times a sum of slopes weighted by a vector a, and |a|_1 is its length in plain steps (J. Wang et al., FedNova,
NeurIPS 2020): T for plain steps, (T - r (1 - r^T) / (1 - r)) / (1 - r) with momentum, (1 - (1 - e m)^T) / (e m) with
the proximal term.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from crimson_node.data.rows import Floats
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

Places = npt.NDArray[np.int64]
Slope = Callable[[Floats, Places], Floats]
"""`slope(point, places)`: the loss's slope (d,) at point (d,), over the training rows at `places`."""


@dataclass(frozen=True)
class LocalPlan:
    """How a site moves. Raises CallerFault on a plan that cannot be run.

    steps: gradient steps over all rows, or, where `batch` (rows of a step) is above 0, passes over the rows.
    proximal: weight m of m/2 |w - x|². momentum: below 1.
    """

    steps: int
    learning_rate: float
    batch: int = 0
    proximal: float = 0.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 0:
            raise CallerFault(Refusal.OUT_OF_RANGE, "a plan needs at least one step and no negative batch")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise CallerFault(Refusal.OUT_OF_RANGE, "the learning rate must be finite and above 0")
        if not (math.isfinite(self.proximal) and self.proximal >= 0):
            raise CallerFault(Refusal.OUT_OF_RANGE, "the proximal weight must be finite and not negative")
        if not 0 <= self.momentum < 1:
            raise CallerFault(Refusal.OUT_OF_RANGE, "momentum must lie in [0, 1)")

    def steps_over(self, rows: int) -> int:
        """Gradient steps that a site of so many training rows makes; none without rows."""
        if not rows:
            return 0
        return self.steps * -(-rows // self.batch) if self.batch else self.steps


@dataclass(frozen=True, eq=False)
class LocalChange:
    """change: end less start (d,). normalisation: |a|_1, what FedNova divides it by; 0 where no step was made."""

    change: Floats = field(repr=False)
    normalisation: float


def train(start: Floats, slope: Slope, rows: int, plan: LocalPlan, entropy: Entropy) -> LocalChange:
    """The change that `plan` makes from `start` (d,) on a site of `rows` training rows.

    Every pass over batches takes each row once, in an order drawn from `entropy`; full-batch steps draw nothing.
    Raises CallerFault where the steps diverge.
    """

    def over(places: Places) -> Callable[[Floats], Floats]:
        return lambda point: slope(point, places)

    change = descend(start, map(over, _batches(rows, plan, entropy)), plan)
    return LocalChange(change, normalisation(plan, plan.steps_over(rows)))


def descend(start: Floats, slopes: Iterable[Callable[[Floats], Floats]], plan: LocalPlan) -> Floats:
    """End less start (d,) after one step for each of `slopes`, each asked at the point where its step begins.

    Raises CallerFault where the steps diverge.
    """
    point, velocity = np.array(start, dtype=np.float64), np.zeros(start.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        for slope in slopes:
            velocity = plan.momentum * velocity + slope(point)
            if plan.proximal:
                velocity = velocity + plan.proximal * (point - start)
            point = point - plan.learning_rate * velocity
    if not np.isfinite(point).all():
        raise CallerFault(
            Refusal.NOT_FINITE, "training diverged: scale the features or lower the learning rate"
        )
    return np.asarray(point - start)


def normalisation(plan: LocalPlan, steps: int) -> float:
    """|a|_1 after so many steps.

    The recursion is linear and does not change over time, so the weight of the slope taken k steps before the end is
    the response, k steps on, to a single unit slope.
    """
    total = response = velocity = 0.0
    for place in range(steps):
        velocity = plan.momentum * velocity - plan.proximal * plan.learning_rate * response + (place == 0)
        response += velocity
        total += abs(response)
    return total


def _batches(rows: int, plan: LocalPlan, entropy: Entropy) -> Iterator[Places]:
    every = np.arange(rows, dtype=np.int64)
    for _ in range(plan.steps if rows else 0):
        if not plan.batch:
            yield every
            continue
        # Sorting by 64 random bits a row is a uniform order unless two agree: less than rows² / 2^65.
        order = np.argsort(np.frombuffer(entropy(8 * rows), "<u8"), kind="stable").astype(np.int64)
        for first in range(0, rows, plan.batch):
            yield order[first : first + plan.batch]
