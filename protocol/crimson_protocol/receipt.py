"""Receipts: proof of which model, policy, cohort, enclave and privacy charge an update went into.

A receipt is two COSE_Sign1 messages over one payload, Ed25519 and ML-DSA-65; the second is detached, so
the payload travels once. Both must hold.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from crimson_protocol import cose
from crimson_protocol.crypto.labels import RECEIPT
from crimson_protocol.crypto.verify import DualPublic, verify_ed25519, verify_mldsa65
from crimson_protocol.errors import PeerFault
from crimson_protocol.events import Event
from crimson_protocol.policy.document import DISCLOSURES, ROBUST_RULES, STRATEGIES
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.messages.confirm import Submission
from crimson_protocol.wire.records import (
    MAX_NODES,
    BytesUpTo,
    Count,
    Digest,
    Flag,
    Items,
    Maybe,
    Name,
    Nested,
    NodeSet,
    OneOf,
    Record,
    Text,
    UInt,
    itself,
)

MAX_RECEIPT = 1 << 20
AAD = RECEIPT.encode()


@dataclass(frozen=True)
class Outcome(Record):
    """One check of the release, and whether it held in every bucket. A robust rule leaves out those where not."""

    name: Annotated[str, Text(64)]
    ok: Annotated[bool, Flag()]


@dataclass(frozen=True)
class PrivacyCharge(Record):
    """What the round cost, with unit, delta and adjacency: an epsilon without them means nothing.

    releases: charges of this model so far, this one included, whether or not a release followed.
    """

    unit: Annotated[str, OneOf(("record", "node"))]
    adjacency: Annotated[str, OneOf(("add-remove", "replace-one", "zero-out"))]
    delta_exponent: Annotated[int, UInt(30)]
    before_thousandths: Count
    after_thousandths: Count
    releases: Count


@dataclass(frozen=True)
class Receipt(Record):
    """The receipt's payload.

    robust_tolerance: bad values that the rule is said to bear. sketched_micro: in millionths, which part of an update
    the enclave's sketches of this model have shown so far (the sum of m/d over rounds).
    """

    federation: Name
    model: Name
    round: Count
    attempt: Count
    t1: Digest
    v: Digest
    accepted: Annotated[tuple[Submission, ...], Items(Nested(Submission), MAX_NODES, lambda item: item.node)]
    dropped: NodeSet
    rejected: NodeSet
    closed: NodeSet
    model_digest: Digest
    output_digest: Digest
    policy_digest: Digest
    policy_serial: Count
    claims_digest: Digest
    measurement: Digest
    simulated: Annotated[bool, Flag()]
    isolated: Annotated[bool, Flag()]
    strategy: Annotated[str, OneOf(STRATEGIES)]
    robust_rule: Annotated[str, OneOf(ROBUST_RULES)]
    robust_tolerance: Annotated[int, UInt(4096)]
    sketched_micro: Count
    disclosures: Annotated[tuple[str, ...], Items(OneOf(DISCLOSURES), len(DISCLOSURES), itself)]
    privacy: Annotated[PrivacyCharge | None, Maybe(Nested(PrivacyCharge))]
    checks: Annotated[tuple[Outcome, ...], Items(Nested(Outcome), 32)]
    previous: Digest
    time: Count


@dataclass(frozen=True)
class SignedReceipt(Record):
    """Both COSE_Sign1 messages as bytes: EdDSA with the payload, ML-DSA-65 detached."""

    eddsa: Annotated[bytes, BytesUpTo(MAX_RECEIPT)]
    mldsa: Annotated[bytes, BytesUpTo(8192)]


def release_event(receipt: Receipt, signed: bytes) -> Event:
    """The log leaf of a release: it commits to the signed receipt, and follows from it alone."""
    digest = hashlib.sha256(signed).digest()
    place = receipt.round, receipt.attempt
    return Event("release", receipt.time, receipt.model, *place, digest, None, None)


def unverified_receipt(data: bytes) -> Receipt:
    """What a receipt says of itself, for a relay that files it: no signature is looked at. Raises PeerFault."""
    payload = cose.parse(SignedReceipt.from_bytes(data, MAX_RECEIPT).eddsa, MAX_RECEIPT).payload
    return Receipt.from_bytes(payload or b"", MAX_RECEIPT)


def verify_receipt(data: bytes, key: DualPublic) -> Receipt:
    """The receipt in `data` if both signatures of `key` hold, else PeerFault on the enclave."""
    try:
        signed = SignedReceipt.from_bytes(data, MAX_RECEIPT)
        first, second = cose.parse(signed.eddsa, MAX_RECEIPT), cose.parse(signed.mldsa, 8192)
        algorithms = (first.alg, second.alg)
        if algorithms != (cose.Algorithm.EDDSA, cose.Algorithm.ML_DSA_65):
            raise PeerFault(Refusal.RECEIPT_REJECTED, "a receipt carries EdDSA, then ML-DSA-65")
        payload = first.payload
        if payload is None or second.payload is not None:
            raise PeerFault(Refusal.RECEIPT_REJECTED, "the payload stands in the first message alone")
        verify_ed25519(key.ed25519, cose.sig_structure(first.protected, AAD, payload), first.signature)
        verify_mldsa65(key.mldsa65, cose.sig_structure(second.protected, AAD, payload), second.signature)
        return Receipt.from_bytes(payload, MAX_RECEIPT)
    except PeerFault as fault:
        raise fault.blamed_on("enclave") from fault
