"""What a model starts from: zeros, or for a network numbers drawn from a seed that everybody can compute."""

import hashlib
from itertools import pairwise
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from crimson_protocol.artifact import Artifact
from crimson_protocol.crypto.labels import INITIAL
from crimson_protocol.policy.plan import TRAINED, TrainingPlan
from crimson_protocol.wire import cbor


def initial_parameters(plan: TrainingPlan, name: str) -> NDArray[np.float32]:
    """The parameters of the model `name` before anything was learnt, float32 (plan.parameters,).

    A linear model starts at zeros. A network of zeros never learns, so each weight of a layer is even within
    ±sqrt(6 / (inputs + outputs)) (X. Glorot and Y. Bengio, AISTATS 2010: hidden units are tanh), and biases are 0.
    Layer k takes 8 bytes a weight, little-endian, from SHAKE-256 over cbor([INITIAL, name, widths, k]), and keeps the
    upper 53 bits. Only operations that IEEE 754 rounds in one way follow: every governor computes the same bytes.
    """
    if plan.task not in TRAINED or not plan.hidden:
        return np.zeros(plan.parameters, np.float32)
    widths = (plan.dimension, *plan.hidden, len(plan.cuts_micro))
    parts = []
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        seed = cbor.encode([INITIAL, name, list(widths), layer])
        drawn = np.frombuffer(hashlib.shake_256(seed).digest(8 * inputs * outputs), "<u8") >> np.uint64(11)
        even = drawn.astype(np.float64) * 2.0**-52 - 1.0
        parts += [even * sqrt(6.0 / (inputs + outputs)), np.zeros(outputs)]
    return np.concatenate(parts).astype(np.float32)


def initial_artifact(plan: TrainingPlan, name: str) -> bytes:
    """The artifact that the first round of the model `name` starts from."""
    return Artifact.of(initial_parameters(plan, name)).to_bytes()
