"""A feed-forward network whose parameters are one flat vector, so that sites can add them up.

Layer by layer from the features: weights (out, in) row by row, then biases (out,). Hidden units are tanh: bounded
activations keep per-record gradients short, which costs less under a clip (N. Papernot et al., "Tempered sigmoid
activations for deep learning with differential privacy", AAAI 2021).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.func import grad, vmap
from torch.nn.functional import softplus

from crimson_node.data.rows import Floats
from crimson_protocol.entropy import Entropy

Targets = tuple[Floats, Floats]
"""Per row and bin (rows, K): 1 where the row was at risk, and 1 where its event was."""


@dataclass(frozen=True)
class Network:
    """`widths`: features, hidden layers, outputs; at least one hidden layer."""

    widths: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """Length of the flat vector."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.widths))

    @property
    def is_weight(self) -> Floats:
        """1 where a parameter is a weight, 0 where it is a bias (parameters,)."""
        parts = [part for a, b in pairwise(self.widths) for part in (np.ones(a * b), np.zeros(b))]
        return np.concatenate(parts)

    def initial(self, entropy: Entropy) -> Floats:
        """Weights even within ±sqrt(6 / (in + out)), biases 0 (X. Glorot and Y. Bengio, AISTATS 2010).

        All zeros would be a stationary point of the weights.
        """
        parts = []
        for inputs, outputs in pairwise(self.widths):
            bits = np.frombuffer(entropy(8 * inputs * outputs), "<u8") >> np.uint64(11)
            even = bits.astype(np.float64) * 2.0**-52 - 1.0
            parts += [even * np.sqrt(6.0 / (inputs + outputs)), np.zeros(outputs)]
        return np.concatenate(parts)

    def outputs(self, theta: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """The last layer's values (rows, K) for theta (parameters,) and features (rows, d)."""
        at, values = 0, features
        for place, (inputs, outputs) in enumerate(pairwise(self.widths)):
            middle, end = at + inputs * outputs, at + (inputs + 1) * outputs
            values = values @ theta[at:middle].reshape(outputs, inputs).T + theta[middle:end]
            at = end
            if place < len(self.widths) - 2:
                values = torch.tanh(values)
        return values

    def values(self, theta: Floats, features: Floats) -> Floats:
        """`outputs` as plain numbers."""
        with torch.no_grad():
            return np.asarray(self.outputs(torch.from_numpy(theta), torch.from_numpy(features)).numpy())

    def gradient(self, theta: Floats, features: Floats, targets: Targets, offset: float) -> Floats:
        """The sum over rows of the hazard's slopes (parameters,), with `offset` added to every output."""
        point = torch.from_numpy(theta.copy()).requires_grad_(True)
        at_risk, died = (torch.from_numpy(target) for target in targets)
        total = _record_loss(self.outputs(point, torch.from_numpy(features)) + offset, at_risk, died).sum()
        (slope,) = torch.autograd.grad(total, point)
        return np.asarray(slope.numpy())

    def record_gradients(self, theta: Floats, features: Floats, targets: Targets, offset: float) -> Floats:
        """One slope per row (rows, parameters)."""

        def of_one(
            point: torch.Tensor, row: torch.Tensor, at_risk: torch.Tensor, died: torch.Tensor
        ) -> torch.Tensor:
            logits = self.outputs(point, row[None, :]) + offset
            return _record_loss(logits, at_risk[None, :], died[None, :])[0]

        each = vmap(grad(of_one), in_dims=(None, 0, 0, 0))
        several = [torch.from_numpy(np.ascontiguousarray(part)) for part in (features, *targets)]
        return np.asarray(each(torch.from_numpy(theta), *several).numpy())


def _record_loss(logits: torch.Tensor, at_risk: torch.Tensor, died: torch.Tensor) -> torch.Tensor:
    """The hazard's loss of each row (rows,) from its logits (rows, K)."""
    # The threshold keeps softplus exact where it would else return its argument.
    return (at_risk * softplus(logits, threshold=40.0) - died * logits).sum(dim=1)
