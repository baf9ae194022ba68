"""Rounds without masks: the product's own encoding, sums, checks, bounds, rules and release, in one process.

Masks cancel bit for bit in the ring (tests/rounds, tests/attacks), so the integers that the enclave opens in
a masked round are these, and so is everything that is computed from them. What is left out is who may learn
what, and that costs no accuracy.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.aggregation.aggregate import aggregate
from crimson_enclave.aggregation.memory import Memory
from crimson_enclave.totals import BucketTotal, Totals, check_ranges, refuse_faulty
from crimson_node.encoding import encode_update
from crimson_node.member import Update
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.entropy import Fill
from crimson_protocol.layout import Layout
from crimson_protocol.policy.document import ModelRules, ServerRules
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.advertise import RoundNumbers
from crimson_simulation.attacks.encoding import encode_unclipped

Floats = NDArray[np.float64]
MICRO = 1_000_000
MODEL = "model"


@dataclass(frozen=True)
class Filter:
    """A robust rule of the policy, with what goes before it.

    tolerance: how many nodes may be bad; each spoils at most one bucket. project: bucket means beyond the clip are
    brought back to it; otherwise they are left out.
    """

    rule: str = "none"
    tolerance: int = 0
    mixing: bool = False
    project: bool = False


@dataclass(frozen=True)
class Released:
    """A model as rounds release it: its artifact, and what its strategy remembers."""

    artifact: bytes = field(repr=False)
    memory: Memory = field(default_factory=Memory, repr=False)

    @classmethod
    def initial(cls, parameters: int) -> "Released":
        """The model before anything was learnt: zeros."""
        return cls(Artifact.of(np.zeros(parameters, np.float32)).to_bytes())

    @property
    def parameters(self) -> Floats:
        """(d,), float32 values as they are released."""
        return Artifact.from_bytes(self.artifact, MAX_ARTIFACT).vector().astype(np.float64)

    def after(self, totals: Totals, filtered: Filter) -> "Released":
        """The model after a round of federated averaging. Raises PeerFault where no value is left to aggregate."""
        rules = _rules(totals.layout.numbers, filtered, self.artifact)
        made = aggregate(rules, "fedavg", self.artifact, self.memory, totals, None)
        return Released(made.artifact, made.memory)


def open_round(
    numbers: RoundNumbers,
    buckets: Sequence[Sequence[int]],
    updates: Mapping[int, Update],
    fill: Fill,
    dishonest: Collection[int] = (),
) -> Totals:
    """The opened sums of one round: `updates` by node, encoded, summed by bucket and checked.

    dishonest: nodes that encode without clipping. Raises PeerFault where a sum leaves its range.
    """
    layout = Layout(numbers)
    opened = [_bucket(layout, bucket, updates, fill, dishonest) for bucket in buckets]
    totals = check_ranges(layout, opened)
    refuse_faulty(totals.buckets)
    return totals


def _bucket(
    layout: Layout,
    nodes: Sequence[int],
    updates: Mapping[int, Update],
    fill: Fill,
    dishonest: Collection[int],
) -> BucketTotal:
    total = np.zeros(layout.length, np.uint32)
    for node in nodes:
        encode = encode_unclipped if node in dishonest else encode_update
        np.add(total, encode(updates[node], layout, fill), out=total)
    return BucketTotal(tuple(nodes), total)


def _rules(numbers: RoundNumbers, filtered: Filter, artifact: bytes) -> ModelRules:
    return ModelRules(
        model=MODEL,
        strategy="fedavg",
        alternatives=(),
        loss="none",
        robust_rule=filtered.rule,
        robust_tolerance=filtered.tolerance,
        mixing=int(filtered.mixing),
        radius_micro=0,
        enclave_clip=int(filtered.project),
        server=ServerRules(),
        numbers=numbers,
        sketch=None,
        privacy=None,
        disclosures=(),
        plan=b"",
        base=None,
        initial_digest=model_digest(artifact),
    )
