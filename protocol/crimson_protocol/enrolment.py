"""How a site joins, changes its keys, and leaves: the token, the requests, and what they must be signed with.

The token carries the seed of an Ed25519 key made for one invitation. The gateway knows its public half alone,
so neither its database nor whoever reads the traffic can join in the site's place.
"""

import binascii
import hashlib
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Annotated

from crimson_protocol.crypto.labels import INVITATION, JOIN, LEAVE, ROTATION
from crimson_protocol.crypto.verify import verify_ed25519
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.document import KINDS
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import cbor
from crimson_protocol.wire.records import (
    BoxPublic,
    Bytes,
    BytesUpTo,
    Count,
    Digest,
    Key32,
    Maybe,
    Name,
    OneOf,
    Record,
    Signature,
    Text,
)

INVITATION_VERSION = "crimson/invitation/1"
JOIN_VERSION = "crimson/join/1"
ROTATION_VERSION = "crimson/rotation/1"
LEAVE_VERSION = "crimson/leave/1"
MAX_REQUEST = 1 << 14
MAX_TOKEN = 1 << 13
"""Most bytes of a request, and most characters of a token."""
PREFIX = "crimson-join-1"
_CHECKSUM = 8
_STANDARD = str.maketrans("-_+/", "+/  ")

STATES = ("requested", "approved", "listed", "refused", "suspended", "revoked", "expired")


@dataclass(frozen=True)
class Invitation(Record):
    """What an operator promises one site, for one use until `expires` (Unix seconds).

    authority: DER of the gateway's own certificate authority, None where a public one signed its certificate.
    anchor: SHA-256 of the federation's first root. policy_digest, policy_serial: the policy it was issued under.
    """

    version: Annotated[str, OneOf((INVITATION_VERSION,))]
    federation: Name
    gateway: Annotated[str, Text(255)]
    authority: Annotated[bytes | None, Maybe(BytesUpTo(2048))]
    anchor: Digest
    policy_digest: Digest
    policy_serial: Count
    node: Name
    organisation: Name
    kind: Annotated[str, OneOf(KINDS)]
    expires: Count
    issuer: Name

    def digest(self) -> bytes:
        """SHA-256 under the invitation's label: what a request names, and what the gateway stores."""
        return hashlib.sha256(cbor.encode([INVITATION, self.to_bytes()])).digest()


@dataclass(frozen=True)
class Token(Record):
    """An invitation with the seed of its key: whoever holds it may join in the site's name, once."""

    invitation: Annotated[bytes, BytesUpTo(4096)]
    seed: Annotated[bytes, Bytes(32)] = field(repr=False)


@dataclass(frozen=True)
class NewInvitation(Record):
    """An invitation as its operator tells the gateway: without the seed."""

    invitation: Annotated[bytes, BytesUpTo(4096)]
    key: Key32


@dataclass(frozen=True)
class JoinRequest(Record):
    """A site asks to be listed with the keys it made. `invitation` is the digest of the one it was given."""

    version: Annotated[str, OneOf((JOIN_VERSION,))]
    invitation: Digest
    federation: Name
    node: Name
    organisation: Name
    kind: Annotated[str, OneOf(KINDS)]
    identity_key: Key32
    encryption_key: BoxPublic
    policy_digest: Digest
    time: Count


@dataclass(frozen=True)
class SignedJoin(Record):
    """A join request under the invitation's key, and under the identity key it asks for."""

    request: Annotated[bytes, BytesUpTo(4096)]
    by_invitation: Signature
    by_identity: Signature


@dataclass(frozen=True)
class RotationRequest(Record):
    """A member asks to be listed with new keys. `previous` is its identity key so far."""

    version: Annotated[str, OneOf((ROTATION_VERSION,))]
    federation: Name
    node: Name
    previous: Key32
    identity_key: Key32
    encryption_key: BoxPublic
    time: Count


@dataclass(frozen=True)
class SignedRotation(Record):
    """A rotation request under the old identity key, which vouches for the new one, and under the new."""

    request: Annotated[bytes, BytesUpTo(4096)]
    by_previous: Signature
    by_identity: Signature


@dataclass(frozen=True)
class LeaveRequest(Record):
    """A member leaves for good."""

    version: Annotated[str, OneOf((LEAVE_VERSION,))]
    federation: Name
    node: Name
    identity_key: Key32
    time: Count


@dataclass(frozen=True)
class SignedLeave(Record):
    """A leave request under the identity key."""

    request: Annotated[bytes, BytesUpTo(4096)]
    by_identity: Signature


@dataclass(frozen=True)
class EnrolmentState(Record):
    """Where a site's request stands. `approvals` of `needed` operators have compared its fingerprint."""

    node: Name
    state: Annotated[str, OneOf(STATES)]
    approvals: Count
    needed: Count
    reason: Annotated[str | None, Maybe(Text(200))]


def signed_bytes(label: str, request: bytes) -> bytes:
    """What every signature on a request covers: its label and its exact bytes."""
    return cbor.encode([label, request])


def token_text(token: Token) -> str:
    """The token as text to be sent through a channel of the operator's choice."""
    raw = token.to_bytes()
    return f"{PREFIX}.{urlsafe_b64encode(raw).decode().rstrip('=')}.{_checksum(raw)}"


def read_token(text: str) -> tuple[Invitation, Token]:
    """The invitation and token in a text. Raises PeerFault(MALFORMED, TOO_LARGE) for anything else, a token with
    one letter changed or lost included; the text is never repeated in the error."""
    words = text.strip().split(".")
    if len(text) > MAX_TOKEN:
        raise PeerFault(Refusal.TOO_LARGE, "too long for a token")
    if len(words) != 3 or words[0] != PREFIX:
        raise PeerFault(Refusal.MALFORMED, f"not a token: one begins with {PREFIX} and has three parts")
    try:
        # Strict: letters outside the alphabet would be passed over in silence.
        plain = words[1].translate(_STANDARD) + "=" * (-len(words[1]) % 4)
        raw = b64decode(plain, validate=True)
    except (ValueError, binascii.Error):
        raise PeerFault(Refusal.MALFORMED, "the token's middle part is not base64url") from None
    if _checksum(raw) != words[2]:
        raise PeerFault(Refusal.MALFORMED, "the token was changed or cut on its way")
    token = Token.from_bytes(raw, MAX_TOKEN)
    return Invitation.from_bytes(token.invitation, 4096), token


def open_join(data: bytes, invitation_key: bytes | None) -> JoinRequest:
    """The verified request in a SignedJoin. `invitation_key` None checks possession of the identity key alone,
    which is all that a governor can check. Raises PeerFault(MALFORMED, BAD_SIGNATURE)."""
    signed = SignedJoin.from_bytes(data, MAX_REQUEST)
    request = JoinRequest.from_bytes(signed.request, MAX_REQUEST)
    message = signed_bytes(JOIN, signed.request)
    if invitation_key is not None:
        verify_ed25519(invitation_key, message, signed.by_invitation, request.node)
    verify_ed25519(request.identity_key, message, signed.by_identity, request.node)
    return request


def open_rotation(data: bytes) -> RotationRequest:
    """The verified request in a SignedRotation: the old key vouches for the new. Raises PeerFault."""
    signed = SignedRotation.from_bytes(data, MAX_REQUEST)
    request = RotationRequest.from_bytes(signed.request, MAX_REQUEST)
    message = signed_bytes(ROTATION, signed.request)
    verify_ed25519(request.previous, message, signed.by_previous, request.node)
    verify_ed25519(request.identity_key, message, signed.by_identity, request.node)
    return request


def open_leave(data: bytes) -> LeaveRequest:
    """The verified request in a SignedLeave. Raises PeerFault."""
    signed = SignedLeave.from_bytes(data, MAX_REQUEST)
    request = LeaveRequest.from_bytes(signed.request, MAX_REQUEST)
    verify_ed25519(
        request.identity_key, signed_bytes(LEAVE, signed.request), signed.by_identity, request.node
    )
    return request


def _checksum(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:_CHECKSUM]
