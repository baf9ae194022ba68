"""Signature checks: public keys only. With `primitives`, the one place that calls `cryptography`."""

from dataclasses import dataclass
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.records import Bytes, Record

ED25519_PUBLIC = 32
ED25519_SIGNATURE = 64
MLDSA65_PUBLIC = 1952
MLDSA65_SIGNATURE = 3309


@dataclass(frozen=True)
class DualPublic(Record):
    """Public half of a key pair that signs with Ed25519 and with ML-DSA-65."""

    ed25519: Annotated[bytes, Bytes(ED25519_PUBLIC)]
    mldsa65: Annotated[bytes, Bytes(MLDSA65_PUBLIC)]


@dataclass(frozen=True)
class DualSignature(Record):
    """Two signatures over the same bytes; both must hold."""

    ed25519: Annotated[bytes, Bytes(ED25519_SIGNATURE)]
    mldsa65: Annotated[bytes, Bytes(MLDSA65_SIGNATURE)]


def verify_ed25519(public: bytes, message: bytes, signature: bytes, signer: str | None = None) -> None:
    """Raise PeerFault(BAD_SIGNATURE) on `signer` unless `signature` is valid (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise PeerFault(Refusal.BAD_SIGNATURE, "the Ed25519 signature does not hold", signer) from error


def verify_mldsa65(public: bytes, message: bytes, signature: bytes, signer: str | None = None) -> None:
    """Raise PeerFault(BAD_SIGNATURE) on `signer` unless `signature` is valid (FIPS 204, empty context)."""
    try:
        MLDSA65PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise PeerFault(Refusal.BAD_SIGNATURE, "the ML-DSA-65 signature does not hold", signer) from error


def verify_dual(
    public: DualPublic, message: bytes, signature: DualSignature, signer: str | None = None
) -> None:
    """Both signatures, or PeerFault(BAD_SIGNATURE): a quantum computer must not be enough, nor a lattice break."""
    verify_ed25519(public.ed25519, message, signature.ed25519, signer)
    verify_mldsa65(public.mldsa65, message, signature.mldsa65, signer)
