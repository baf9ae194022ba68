"""Who this node is, what it knows, and what it is ready to contribute."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crimson_protocol.policy.document import Policy
from crimson_protocol.secret.keys import BoxKey, IdentityKey


@dataclass(frozen=True)
class Member:
    """One node: its place in the roster, its two private keys, and the policy it verified."""

    index: int
    identity: IdentityKey
    encryption: BoxKey
    policy: Policy = field(repr=False)

    @property
    def name(self) -> str:
        return self.policy.roster[self.index].node


@dataclass(frozen=True)
class Update:
    """A trained contribution, made on the artifact whose digest it names. Never leaves the node unmasked.

    parameters: float vector (d,), the change to the model. weight: rows it stands for. counters: exact
    integers in the order of the plan. steps: |a|_1 of the local steps that `parameters` were divided by (FedNova).
    Its text shows nothing of its values.
    """

    model: str
    model_digest: bytes
    parameters: NDArray[np.float32] = field(repr=False)
    weight: int = field(repr=False)
    counters: tuple[int, ...] = field(default=(), repr=False)
    steps: float = field(default=1.0, repr=False)
