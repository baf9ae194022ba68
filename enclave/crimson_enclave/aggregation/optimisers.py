"""Server optimisers: what the aggregated change of a round does to the model.

With g the change, r the rate, m and v the moments (zero at first): FedAvg x + r g; FedAvgM m = b1 m + g,
x + r m (Hsu et al. 2019); FedAdam m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g², x + r m / (sqrt(v) + t); FedYogi
the same with v = v - (1 - b2) g² sign(v - g²) (Reddi et al. 2021, algorithm 2; no bias correction, as there).
FedProx and FedNova differ in what nodes compute, and end like FedAvg.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.aggregation.memory import Memory, Vector
from crimson_protocol.policy.document import MICRO, ModelRules

BLOCK = 1 << 16


@dataclass(frozen=True)
class Step:
    """The model after a round (d,), and what the optimiser remembers."""

    model: NDArray[np.floating]
    memory: Memory


COMPARED = ("centered-clipping", "sketch-filter")
"""Robust rules that look at the last aggregated change."""


def step(
    strategy: str,
    rules: ModelRules,
    model: NDArray[np.floating],
    change: Vector,
    memory: Memory,
    kind: type[np.floating] = np.float64,
) -> Step:
    """The model moved by `change`, both (d,), with weight decay where the rules have it.

    Computed in float64 and kept as `kind`, block by block: a large model is never held twice over in float64.
    """
    server = rules.server
    rate, decay = server.rate_micro / MICRO, server.decay_micro / MICRO
    first_decay, second_decay = server.momentum_micro / MICRO, server.second_micro / MICRO
    first = second = None
    match strategy:
        case "fedavgm":
            first = first_decay * memory.vector("first", change.size) + change
            moved = first
        case "fedadam" | "fedyogi":
            first = first_decay * memory.vector("first", change.size) + (1 - first_decay) * change
            second = _second(strategy, second_decay, memory.vector("second", change.size), np.square(change))
            moved = first / (np.sqrt(second) + server.adaptivity_micro / MICRO)
        case _:
            moved = change
    after = np.empty(change.size, kind)
    for start in range(0, change.size, BLOCK):
        block = slice(start, start + BLOCK)
        own = model[block].astype(np.float64)
        after[block] = own + rate * moved[block] - (rate * decay * own if decay else 0.0)
    return Step(after, Memory.of(first, second, change if rules.robust_rule in COMPARED else None))


def _second(strategy: str, decay: float, second: Vector, square: Vector) -> Vector:
    if strategy == "fedadam":
        return decay * second + (1 - decay) * square
    return second - (1 - decay) * square * np.sign(second - square)
