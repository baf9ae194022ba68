"""What an enclave claims about itself, and how evidence binds those claims."""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.crypto.labels import CLAIMS, REPORT_DATA, SIMULATED_EVIDENCE
from crimson_protocol.crypto.verify import DualPublic, DualSignature
from crimson_protocol.wire import cbor
from crimson_protocol.wire.messages.advertise import Checkpoint
from crimson_protocol.wire.records import (
    BoxPublic,
    Bytes,
    Count,
    Digest,
    Flag,
    Items,
    Nested,
    OneOf,
    Record,
    Text,
    UInt,
)

EVIDENCE_VERSION = 1
MAX_EVIDENCE = 1 << 16


@dataclass(frozen=True)
class Claims(Record):
    """The part of the preimage that stays the same for an instance; its digest is in T0."""

    version: Annotated[int, UInt(255)]
    box_key: BoxPublic
    receipt_key: Annotated[DualPublic, Nested(DualPublic)]
    policy_digest: Digest
    policy_serial: Count
    checkpoint: Annotated[Checkpoint, Nested(Checkpoint)]
    simulated: Annotated[bool, Flag()]
    instance: Annotated[bytes, Bytes(16)]
    epoch: Count

    def digest(self) -> bytes:
        """The claims digest of Offer and T0: without nonce and expiry, which belong to one document."""
        return hashlib.sha256(cbor.encode([CLAIMS, self.to_plain()])).digest()


@dataclass(frozen=True)
class Preimage(Record):
    """Everything the 64 bytes of report data stand for."""

    claims: Annotated[Claims, Nested(Claims)]
    nonce: Digest
    expires: Count

    def report_data(self) -> bytes:
        """SHA-512 over label and preimage (64 bytes): what a quote, report or document carries."""
        return hashlib.sha512(cbor.encode([REPORT_DATA, self.to_plain()])).digest()


@dataclass(frozen=True)
class Measure(Record):
    """One isolation measure and whether this kernel enforced it."""

    name: Annotated[str, Text(64)]
    enforced: Annotated[bool, Flag()]


@dataclass(frozen=True)
class SimulatedReport(Record):
    """What a software root signs in place of hardware: it says SIMULATED and proves no isolation by itself."""

    kind: Annotated[str, OneOf(("sim",))]
    label: Annotated[str, OneOf(("SIMULATED",))]
    report_data: Annotated[bytes, Bytes(64)]
    measurement: Digest
    isolated: Annotated[bool, Flag()]
    measures: Annotated[tuple[Measure, ...], Items(Nested(Measure), 64)]
    issued: Count


@dataclass(frozen=True)
class Evidence(Record):
    """A report, its signature, and the preimage of its report data."""

    report: Annotated[SimulatedReport, Nested(SimulatedReport)]
    signature: Annotated[DualSignature, Nested(DualSignature)]
    preimage: Annotated[Preimage, Nested(Preimage)]


def report_bytes(report: SimulatedReport) -> bytes:
    """What the software root's signature covers."""
    return cbor.encode([SIMULATED_EVIDENCE, report.to_plain()])
