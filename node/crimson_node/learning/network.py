"""A feed-forward network whose parameters are one flat vector, so that sites can add them up.

Layer by layer from the features: weights (out, in) row by row, then biases (out,). Hidden units are tanh: bounded
activations keep per-record gradients short, which costs less under a clip (N. Papernot et al., "Tempered sigmoid
activations for deep learning with differential privacy", AAAI 2021).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.func import grad, vmap

from crimson_node.data.rows import Floats
from crimson_protocol.entropy import Entropy

RecordLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Outputs (rows, K) and two targets of that shape to one loss per row (rows,)."""


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

    def gradient(
        self, theta: Floats, features: Floats, targets: tuple[Floats, Floats], loss: RecordLoss
    ) -> Floats:
        """The sum over rows of the loss's slopes (parameters,)."""
        point = torch.from_numpy(theta.copy()).requires_grad_(True)
        first, second = (torch.from_numpy(target) for target in targets)
        total = loss(self.outputs(point, torch.from_numpy(features)), first, second).sum()
        (slope,) = torch.autograd.grad(total, point)
        return np.asarray(slope.numpy())

    def record_gradients(
        self, theta: Floats, features: Floats, targets: tuple[Floats, Floats], loss: RecordLoss
    ) -> Floats:
        """One slope per row (rows, parameters)."""

        def of_one(
            point: torch.Tensor, row: torch.Tensor, first: torch.Tensor, second: torch.Tensor
        ) -> torch.Tensor:
            return loss(self.outputs(point, row[None, :]), first[None, :], second[None, :])[0]

        each = vmap(grad(of_one), in_dims=(None, 0, 0, 0))
        several = [torch.from_numpy(np.ascontiguousarray(part)) for part in (features, *targets)]
        return np.asarray(each(torch.from_numpy(theta), *several).numpy())
