"""A policy under its governor's signatures. There is no other way to a `Policy` that counts."""

from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.crypto.labels import POLICY, REOPEN
from crimson_protocol.crypto.verify import DualPublic, DualSignature, verify_dual
from crimson_protocol.errors import PeerFault, PolicyRefusal
from crimson_protocol.policy.document import MAX_POLICY, Policy
from crimson_protocol.policy.soundness import refuse_unsound
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import cbor
from crimson_protocol.wire.records import BytesUpTo, Count, Digest, Name, Nested, Record

GOVERNOR = "governor"


@dataclass(frozen=True)
class SignedDocument(Record):
    """Bytes and the governor's two signatures over label and bytes."""

    document: Annotated[bytes, BytesUpTo(MAX_POLICY)]
    signature: Annotated[DualSignature, Nested(DualSignature)]


@dataclass(frozen=True)
class ReopenOrder(Record):
    """Governors allow one more round on a model whose confirmed verdict was never released."""

    federation: Name
    model: Name
    round: Count
    model_digest: Digest


def governed_bytes(label: str, document: bytes) -> bytes:
    """What a governor signs."""
    return cbor.encode([label, document])


def load_policy(data: bytes, governor: DualPublic, now: int, at_least: int = 0) -> Policy:
    """The verified, sound policy in `data` (steps P1 to P5 of docs/PROTOCOL.md). `now` in Unix seconds.

    Raises PeerFault(MALFORMED, TOO_LARGE, BAD_SIGNATURE, POLICY_WENT_BACK, EXPIRED) and
    PolicyRefusal(UNSOUND_POLICY). `at_least` is the highest serial seen before.
    """
    # P1 and P2: bounded strict parsing, then both signatures, before the inner bytes are looked at.
    signed = SignedDocument.from_bytes(data, MAX_POLICY + 8192)
    verify_dual(governor, governed_bytes(POLICY, signed.document), signed.signature, GOVERNOR)
    policy = Policy.from_bytes(signed.document, MAX_POLICY)
    # P3: never back to an earlier policy. P4: not past its end.
    if policy.serial < at_least:
        raise PeerFault(
            Refusal.POLICY_WENT_BACK, f"policy {policy.serial} is older than {at_least}, seen before"
        )
    if now >= policy.expires:
        raise PeerFault(Refusal.EXPIRED, f"policy {policy.serial} has expired", GOVERNOR)
    # P5: no unsound combination, whoever signed it.
    refuse_unsound(policy)
    return policy


def load_reopen(data: bytes, governor: DualPublic) -> ReopenOrder:
    """A verified reopen order, or PeerFault / PolicyRefusal."""
    signed = SignedDocument.from_bytes(data, 8192)
    verify_dual(governor, governed_bytes(REOPEN, signed.document), signed.signature, GOVERNOR)
    try:
        return ReopenOrder.from_bytes(signed.document, 4096)
    except PeerFault as fault:
        raise PolicyRefusal(Refusal.POLICY_REJECTED, fault.text) from fault
