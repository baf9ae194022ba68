"""What a plan trains, seen alike whatever the loss: its slope, its loss, and what it says about a row."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from crimson_node.data.rows import Floats, SurvivalRows
from crimson_node.learning import cox
from crimson_node.learning.curves import survival_curves
from crimson_node.learning.hazard import HazardModel
from crimson_node.learning.local_steps import Places, Slope
from crimson_node.learning.plan import TrainingPlan


class Learner(Protocol):
    """Parameters are one flat vector theta (parameters,) in the order of the released artifact."""

    def count(self, training: SurvivalRows) -> int:
        """What the loss is a mean over: 0 where a site has nothing to learn from."""

    def loss(self, theta: Floats, training: SurvivalRows) -> float:
        """Mean loss without penalty at theta."""

    def slope(self, training: SurvivalRows, l2: float) -> Slope:
        """The slope of mean loss and penalty, over the training rows at given places."""

    def risk(self, theta: Floats, features: Floats) -> Floats:
        """On the scale of a log hazard, per row: the higher, the earlier the event."""

    def survival(self, theta: Floats, known: SurvivalRows, features: Floats, grid: Floats) -> Floats:
        """S(t) of rows with these features at the times of the grid, (rows, times); `known` rows may be learnt from."""


@dataclass(frozen=True)
class CoxLearner:
    """Linear Cox regression; risk sets are made of all rows, so every step takes them all."""

    def count(self, training: SurvivalRows) -> int:
        """Events: without one there is no likelihood."""
        return int(training.event.sum())

    def loss(self, theta: Floats, training: SurvivalRows) -> float:
        """Negative log partial likelihood per event."""
        return cox.loss(theta, training)

    def slope(self, training: SurvivalRows, l2: float) -> Slope:
        """Its slope over all training rows; `places` is all of them."""
        at = cox.slopes(training, l2)

        def over(point: Floats, places: Places) -> Floats:  # noqa: ARG001
            return at(point)

        return over

    def risk(self, theta: Floats, features: Floats) -> Floats:
        """x theta."""
        return np.asarray(features @ theta)

    def survival(self, theta: Floats, known: SurvivalRows, features: Floats, grid: Floats) -> Floats:
        """With Breslow's baseline hazard from the known rows."""
        return survival_curves(known, self.risk(theta, known.features), self.risk(theta, features), grid)


@dataclass(frozen=True)
class HazardLearner:
    """Discrete-time hazard on public cut points."""

    model: HazardModel

    def count(self, training: SurvivalRows) -> int:
        """Rows."""
        return len(training)

    def loss(self, theta: Floats, training: SurvivalRows) -> float:
        """Negative log likelihood per row."""
        return self.model.loss(theta, training)

    def slope(self, training: SurvivalRows, l2: float) -> Slope:
        """Its slope over the rows at `places`."""
        return lambda point, places: self.model.gradient(point, training.at(places), l2)

    def risk(self, theta: Floats, features: Floats) -> Floats:
        """Log cumulative hazard at the last cut."""
        return self.model.risk(theta, features)

    def survival(self, theta: Floats, known: SurvivalRows, features: Floats, grid: Floats) -> Floats:  # noqa: ARG002
        """The model's own; it needs no baseline."""
        return self.model.survival(theta, features, grid)


def learner_of(plan: TrainingPlan) -> Learner:
    """The learner of a plan that trains or scores. Raises CallerFault for cut points that are none."""
    if plan.task.startswith("hazard"):
        return HazardLearner(plan.hazard)
    return CoxLearner()
