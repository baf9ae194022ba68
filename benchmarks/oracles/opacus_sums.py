"""A site's clipped sums beside those of Opacus 1.6.0, without noise: `python -m benchmarks.oracles.opacus_sums`.

Run in .venv-oracles. The same network is written twice: as the hazard model's flat vector, and as torch layers with the
loss of the definition. Opacus adds 1e-6 to a norm before it divides, so it is shown a loss and a clip that are SCALE
times as large; ours are cut to a grid of 2^-30 of the clip.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn

from crimson_node.data.rows import SurvivalRows
from crimson_node.learning.hazard import HazardModel, bins_at_risk
from crimson_node.learning.record_privacy import clipped_sum

Floats = NDArray[np.float64]
AGREEMENT = 1e-6
SCALE = 2.0**20
CUTS = np.array([1.0, 2.0, 4.0, 8.0])


@dataclass(frozen=True)
class Difference:
    """Largest difference of a clipped sum over its clip; short: records that the clip left as they were."""

    hidden: tuple[int, ...]
    records: int
    clip: float
    short: int
    largest: float
    agrees: bool


def cases() -> Iterator[tuple[tuple[int, ...], int, float]]:
    """Hidden widths, records and clip."""
    for hidden in ((), (8,), (32, 16)):
        for records in (1, 50, 400):
            for clip in (0.05, 0.5, 3.0):
                yield hidden, records, clip


def compared(hidden: tuple[int, ...], records: int, clip: float) -> Difference:
    """One case, from a random point on random rows."""
    random = np.random.default_rng(records)
    model = HazardModel(6, CUTS, hidden)
    rows = SurvivalRows(
        random.uniform(-1, 1, (records, 6)),
        random.uniform(0.1, 9, records),
        random.random(records) < 0.6,
        np.ones(records, bool),
    )
    theta = random.normal(size=model.parameters) * 0.5
    slopes = model.record_gradients(theta, rows)
    ours = clipped_sum(lambda places: slopes[places], np.arange(records), model.parameters, clip)
    largest = float(np.abs(ours - of_opacus(model, theta, rows, clip)).max() / clip)
    short = int((np.linalg.norm(slopes, axis=1) <= clip).sum())
    return Difference(hidden, records, clip, short, largest, largest <= AGREEMENT)


def of_opacus(model: HazardModel, theta: Floats, rows: SurvivalRows, clip: float) -> Floats:
    """The sum of clipped slopes in the order of theta."""
    layers = Layers(model, theta)
    wrapped = GradSampleModule(layers, loss_reduction="sum")
    plain = torch.optim.SGD(wrapped.parameters(), lr=1.0)
    optimiser = DPOptimizer(
        plain, noise_multiplier=0.0, max_grad_norm=clip * SCALE, expected_batch_size=1, loss_reduction="sum"
    )
    at_risk, died = (torch.from_numpy(target) for target in bins_at_risk(model.cuts, rows))
    logits = wrapped(torch.from_numpy(rows.features))
    loss = SCALE * (at_risk * torch.log1p(torch.exp(logits)) - died * logits)
    loss.sum().backward()
    optimiser.pre_step()
    return layers.flat_gradient() / SCALE


class Layers(nn.Module):  # type: ignore[misc]
    """The hazard model as torch layers at theta, in theta's order."""

    def __init__(self, model: HazardModel, theta: Floats) -> None:
        super().__init__()
        self.even = float(np.log(np.expm1(np.log(2.0) / len(model.cuts))))
        self.linear = not model.hidden
        if self.linear:
            # One weight vector for all bins, and a layer on a constant that holds an intercept for each.
            layers = [_layer(model.features, 1, bias=False), _layer(1, len(model.cuts), bias=False)]
        else:
            layers = [_layer(*pair) for pair in pairwise((model.features, *model.hidden, len(model.cuts)))]
        self.layers = nn.ModuleList(layers)
        at = 0
        for parameter in self.parameters():
            block = theta[at : at + parameter.numel()]
            parameter.data = torch.from_numpy(block.copy()).reshape(parameter.shape)
            at += parameter.numel()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (rows, bins)."""
        if self.linear:
            return self.layers[0](features) + self.layers[1](torch.ones_like(features[:, :1])) + self.even
        values = features
        for place, layer in enumerate(self.layers):
            values = layer(values)
            if place < len(self.layers) - 1:
                values = torch.tanh(values)
        return values + self.even

    def flat_gradient(self) -> Floats:
        """What the optimiser made of the gradients, as theta's order."""
        return np.concatenate([parameter.grad.numpy().ravel() for parameter in self.parameters()])


def _layer(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)


def main() -> int:
    """Print one line per case; exit code 1 where one differs."""
    found = [compared(*case) for case in cases()]
    for difference in found:
        sys.stdout.write(json.dumps(asdict(difference)) + "\n")
    return 0 if all(difference.agrees for difference in found) else 1


if __name__ == "__main__":
    sys.exit(main())
