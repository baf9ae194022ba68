"""Round 1, advertise: the enclave offers a round, a node answers with this attempt's keys (steps 1 and 2)."""

from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.wire.records import (
    BoxPublic,
    Count,
    Digest,
    Flag,
    Maybe,
    Name,
    Nested,
    NodeIndex,
    OneOf,
    Ratio,
    Record,
    UInt,
)

SUITE_NAMES = ("aes-256-ctr", "chacha20")


@dataclass(frozen=True)
class Checkpoint(Record):
    """Size and root of the enclave's log."""

    size: Count
    root: Digest


@dataclass(frozen=True)
class RoundNumbers(Record):
    """Every number of a round. Nodes derive them from the policy and refuse an offer with any other.

    steps_cap: the most |a|_1 of local steps that a node may claim; 0 where vectors have no normalisation lane.
    """

    parameters: Annotated[int, UInt(2**28)]
    counters: Annotated[int, UInt(2**20)]
    slices: Annotated[int, UInt(256)]
    ring_bits: Annotated[int, UInt(32)]
    value_bits: Annotated[int, UInt(24)]
    clip_micro: Annotated[int, UInt(2**50)]
    weight_cap: Annotated[int, UInt(2**31)]
    bucket_size: Annotated[int | None, Maybe(UInt(4096))]
    min_cohort: Annotated[int, UInt(4096)]
    corrupt: Ratio
    dropout: Ratio
    noise_micro: Annotated[int, UInt(2**50)]
    steps_cap: Annotated[int, UInt(100_000)]


@dataclass(frozen=True)
class Offer(Record):
    """What the enclave proposes to aggregate, and every fact a node must agree with before it takes part."""

    suite: Annotated[str, OneOf(SUITE_NAMES)]
    federation: Name
    model: Name
    round: Count
    attempt: Count
    model_digest: Digest
    policy_digest: Digest
    policy_serial: Count
    numbers: Annotated[RoundNumbers, Nested(RoundNumbers)]
    claims_digest: Digest
    measurement: Digest
    simulated: Annotated[bool, Flag()]
    round_key: BoxPublic
    nonce_commitment: Digest
    checkpoint: Annotated[Checkpoint, Nested(Checkpoint)]
    strategy: Name


@dataclass(frozen=True)
class Advertise(Record):
    """A node's keys for one attempt, and its commitments to round root R and self-mask seed b."""

    offer_digest: Digest
    node: NodeIndex
    mask_key: BoxPublic
    share_key: BoxPublic
    root_commitment: Digest
    self_commitment: Digest
