"""Discrete-time hazard on public cut points: a survival loss that is a sum over records.

Time is cut into K bins, (0, cut_1], (cut_1, cut_2], …; a model gives each record a logit z_j per bin, and
h_j = 1 / (1 + exp(-z_j)) is the probability of the event in bin j for who reached it. The negative log
likelihood of one record is the binary cross-entropy summed over the bins in which it was at risk
(M. Gensheimer and B. Narasimhan, PeerJ 7:e6257, 2019):

    L_i(theta) = sum over bins j at risk of [log(1 + exp(z_ij)) - y_ij z_ij],  y_ij = 1 in the event's bin, else 0

so a record enters its own term alone. That is what clipping record by record needs, and what the Cox partial
likelihood, where a record stands in other records' risk sets, does not have. Cut points are public: they must
come from the protocol of a study, not from quantiles of anybody's rows.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from crimson_node.data.rows import Floats, SurvivalRows
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

if TYPE_CHECKING:
    from crimson_node.learning.network import Network

# Below this logit log(1 + exp(z)) equals exp(z) in float64.
_NEGLIGIBLE = -40.0


@dataclass(frozen=True, eq=False)
class HazardModel:
    """What a hazard is computed from. Parameters are one flat vector theta (`parameters`,).

    Without hidden layers theta is [beta (d,), intercepts (K,)] and z_j = x beta + intercept_j: proportional odds
    in every bin (D. R. Cox, JRSS B 34, 1972, section 6). With hidden widths it is a network from d features to K
    logits. To either a constant is added, log(2^(1/K) - 1), so that theta = 0 is the guess that half of all records
    have their event by the last cut: a start that few private steps suffice from, and that no row was looked at
    for. `cuts` (K,) are the upper ends of the bins, ascending, above 0, in the unit of the rows' time. Raises
    CallerFault on others.
    """

    features: int
    cuts: Floats = field(repr=False)
    hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        steps = np.diff(self.cuts, prepend=0.0)
        if not (len(self.cuts) and np.isfinite(self.cuts).all() and (steps > 0).all()):
            raise CallerFault(Refusal.OUT_OF_RANGE, "cut points must be finite, ascending and above 0")
        if self.features < 1 or min(self.hidden, default=1) < 1:
            raise CallerFault(Refusal.OUT_OF_RANGE, "a hazard needs a feature, and every layer a unit")

    @property
    def parameters(self) -> int:
        """Length of theta."""
        return self._network.parameters if self.hidden else self.features + len(self.cuts)

    def initial(self, entropy: Entropy) -> Floats:
        """A start (parameters,): zeros for the linear model, random weights for a network."""
        return self._network.initial(entropy) if self.hidden else np.zeros(self.parameters)

    def loss(self, theta: Floats, rows: SurvivalRows, l2: float = 0.0) -> float:
        """Mean of L_i over the training rows plus l2/2 |weights|²; intercepts and biases are not penalised.

        Without a training row only the penalty.
        """
        theta, training = self._checked(theta, rows), rows.training()
        penalty = 0.5 * l2 * float(self._weights(theta) @ theta)
        if not len(training):
            return penalty
        at_risk, died = bins_at_risk(self.cuts, training)
        logits = self.logits(theta, training.features)
        return float((at_risk * _softplus(logits) - died * logits).sum() / len(training)) + penalty

    def gradient(self, theta: Floats, rows: SurvivalRows, l2: float = 0.0) -> Floats:
        """Slope of `loss` at theta (parameters,)."""
        theta, training = self._checked(theta, rows), rows.training()
        slope = l2 * self._weights(theta)
        if not len(training):
            return slope
        targets = bins_at_risk(self.cuts, training)
        if self.hidden:
            total = self._network.gradient(theta, training.features, targets, self._even_odds)
        else:
            residual = self._residual(theta, training, targets)
            total = np.concatenate([training.features.T @ residual.sum(axis=1), residual.sum(axis=0)])
        return total / len(training) + slope

    def record_gradients(self, theta: Floats, rows: SurvivalRows, l2: float = 0.0) -> Floats:
        """For each training row the slope of L_i + l2/2 |weights|² (rows, parameters); their mean is `gradient`.

        The penalty is a part of every record's loss, so that a clip over a record's slope covers it too.
        """
        theta, training = self._checked(theta, rows), rows.training()
        if not len(training):
            return np.empty((0, self.parameters))
        targets = bins_at_risk(self.cuts, training)
        if self.hidden:
            each = self._network.record_gradients(theta, training.features, targets, self._even_odds)
        else:
            residual = self._residual(theta, training, targets)
            each = np.concatenate([training.features * residual.sum(axis=1)[:, None], residual], axis=1)
        return each + l2 * self._weights(theta)

    def logits(self, theta: Floats, features: Floats) -> Floats:
        """z (rows, K) for features (rows, d)."""
        theta = self._shaped(theta, features)
        if not self.hidden:
            per_row = (features @ theta[: self.features])[:, None]
            return np.asarray(per_row + theta[self.features :] + self._even_odds)
        return self._network.values(theta, features) + self._even_odds

    def risk(self, theta: Floats, features: Floats) -> Floats:
        """log H(last cut) per row (rows,), with H = -log S the cumulative hazard: finite, and on the scale of a log
        hazard, so a higher one means an earlier event. It orders rows as x beta does where the model is linear."""
        logits = self.logits(theta, features)
        small = np.minimum(logits, _NEGLIGIBLE)
        logs = np.where(logits < _NEGLIGIBLE, small, np.log(_softplus(np.maximum(logits, _NEGLIGIBLE))))
        return np.asarray(np.logaddexp.reduce(logs, axis=1), dtype=np.float64)

    def survival(self, theta: Floats, features: Floats, grid: Floats) -> Floats:
        """S(t) at the times of the grid, (rows, times).

        S at a cut is the product of 1 - h over the bins up to it; inside a bin the hazard rate is constant, and
        beyond the last cut S stays (H. Kvamme and O. Borgan, Lifetime Data Analysis 27, 2021, section 3).
        """
        per_bin = _softplus(self.logits(theta, features))
        cumulative = np.concatenate([np.zeros((len(features), 1)), np.cumsum(per_bin, axis=1)], axis=1)
        ends = np.concatenate([[0.0], self.cuts])
        times = np.clip(grid, 0.0, self.cuts[-1])
        after = np.clip(np.searchsorted(ends, times, side="left"), 1, len(self.cuts))
        share = (times - ends[after - 1]) / (ends[after] - ends[after - 1])
        hazard = cumulative[:, after - 1] + share * per_bin[:, after - 1]
        return np.asarray(np.exp(-hazard), dtype=np.float64)

    @property
    def _network(self) -> "Network":
        # Loading torch takes a second and 200 MB: only a model with hidden layers pays for it.
        from crimson_node.learning.network import Network  # noqa: PLC0415

        return Network((self.features, *self.hidden, len(self.cuts)))

    @property
    def _even_odds(self) -> float:
        """Logit of the hazard that, the same in all K bins, leaves 1/2 after the last."""
        return math.log(math.expm1(math.log(2.0) / len(self.cuts)))

    def _weights(self, theta: Floats) -> Floats:
        """theta with intercepts and biases set to 0."""
        if self.hidden:
            return theta * self._network.is_weight
        return np.concatenate([theta[: self.features], np.zeros(len(self.cuts))])

    def _residual(self, theta: Floats, training: SurvivalRows, targets: tuple[Floats, Floats]) -> Floats:
        """dL_i/dz_ij (rows, K): the hazard less the event, over the bins at risk."""
        at_risk, died = targets
        # 1 / (1 + exp(-z)) in a form that cannot overflow.
        hazard = 0.5 * (1.0 + np.tanh(0.5 * self.logits(theta, training.features)))
        return np.asarray(at_risk * hazard - died)

    def _checked(self, theta: Floats, rows: SurvivalRows) -> Floats:
        return self._shaped(theta, rows.features)

    def _shaped(self, theta: Floats, features: Floats) -> Floats:
        if theta.shape != (self.parameters,) or features.shape[1:] != (self.features,):
            raise CallerFault(
                Refusal.WRONG_LENGTH, "parameters or features are not those of the hazard model"
            )
        return np.asarray(theta, dtype=np.float64)


def bins_at_risk(cuts: Floats, rows: SurvivalRows) -> tuple[Floats, Floats]:
    """For each row and bin (rows, K): 1 where the row was at risk, and 1 where its event was.

    An event at t is in the bin with cut_{j-1} < t <= cut_j, at 0 in the first, and the row is at risk up to that
    bin. A row censored at t survived the bins of which it saw at least half, as Gensheimer and Narasimhan count. An
    event beyond the last cut is one that was not seen.
    """
    starts = np.concatenate([[0.0], cuts[:-1]])
    bins = np.arange(len(cuts))
    own = np.searchsorted(cuts, rows.time, side="left")
    seen_half = rows.time[:, None] >= 0.5 * (starts + cuts)[None, :]
    at_risk = np.where(rows.event[:, None], bins[None, :] <= own[:, None], seen_half)
    died = rows.event[:, None] & (bins[None, :] == own[:, None])
    return at_risk.astype(np.float64), died.astype(np.float64)


def _softplus(logits: Floats) -> Floats:
    return np.asarray(np.logaddexp(0.0, logits), dtype=np.float64)
