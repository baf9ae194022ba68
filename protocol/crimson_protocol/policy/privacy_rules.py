"""A model's differential privacy as the policy states it; what follows from it is computed in `privacy`."""

from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.wire.records import OneOf, Record, UInt

MICRO = 1_000_000
MAX_RELEASES = 1 << 20
LEAST_STEP_MULTIPLIER, MAX_STEP_MULTIPLIER = MICRO // 2, 32 * MICRO
"""Of the noise of a local step, which nodes draw as 64-bit integers that a rounded Gaussian can stand for."""


@dataclass(frozen=True)
class PrivacyRules(Record):
    """Differential privacy: unit of protection, budget, and where noise enters: once on what is released (`release`),
    on every bucket's sum (`buckets`), or in every local step at each node (`nodes`).

    How much noise the enclave adds, the numbers say; step_multiplier: of the noise of a local step, in millionths of
    the record clip. steps: local steps of a release, each of them one event. sampling: probability, in millionths,
    with which a record takes part in an event. record_clip: bound on one record's contribution in the update's unit,
    or to one local step's sum of slopes; 0 for unit node. divisor: what a sum over records is divided by; it is public
    and not the data's own count. releases: rounds that the budget affords, computed by the governors, checked by the
    enclave with an accountant and counted by every node.
    """

    unit: Annotated[str, OneOf(("record", "node"))]
    epsilon_thousandths: Annotated[int, UInt(100_000)]
    delta_exponent: Annotated[int, UInt(30)]
    sampling_micro: Annotated[int, UInt(MICRO)]
    record_clip_micro: Annotated[int, UInt(2**50)]
    divisor: Annotated[int, UInt(2**40)]
    releases: Annotated[int, UInt(MAX_RELEASES)]
    noise: Annotated[str, OneOf(("release", "buckets", "nodes"))]
    charge: Annotated[str, OneOf(("record", "node"))]
    step_multiplier_micro: Annotated[int, UInt(MAX_STEP_MULTIPLIER)] = 0
    steps: Annotated[int, UInt(100_000)] = 1

    @property
    def at_nodes(self) -> bool:
        """Whether updates are private before they are masked, so that whatever is made of them is."""
        return self.noise == "nodes"
