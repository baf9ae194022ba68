"""COSE_Sign1 (RFC 9052 section 4.2): one signature over a payload. Structure only, no key is touched here.

The message is the untagged array of four, which RFC 9052 section 2 allows where the context says what is
expected. The tagged form (tag 18) would need an exception in a decoder that refuses every tag, and every
place that reads one of these knows that it does.

The protected header is {1: alg} or {1: alg, 4: key id}, nothing else, and the unprotected header is empty:
nothing a verifier acts on is outside the signature.
"""

from dataclasses import dataclass
from enum import IntEnum

from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.cbor import decode, encode
from crimson_protocol.wire.prescan import NULL

KEY_ID_BYTES = 16

_ALG, _KEY_ID = 1, 4  # RFC 9052 section 3.1
_CONTEXT = "Signature1"
# {1: -49, 4: 16 bytes}, the longest protected header, has 22 bytes.
_PROTECTED_CAP = 32
# Neither the array of four nor a header of two pairs has more than five items.
_MAX_ITEMS = 16


class Algorithm(IntEnum):
    """Signature algorithms, by their number in the IANA registry "COSE Algorithms"."""

    EDDSA = -8
    ML_DSA_65 = -49


SIGNATURE_BYTES = {Algorithm.EDDSA: 64, Algorithm.ML_DSA_65: 3309}
"""Lengths of Ed25519 (RFC 8032) and ML-DSA-65 (FIPS 204) signatures."""


@dataclass(frozen=True, slots=True)
class Sign1:
    """A parsed COSE_Sign1 whose signature has not been checked.

    protected: the header as received, which is what the signature covers. kid: 16 bytes or None.
    payload: None where it is detached. signature: of the length that belongs to `alg`.
    """

    protected: bytes
    alg: Algorithm
    kid: bytes | None
    payload: bytes | None
    signature: bytes


def protected_header(alg: Algorithm, kid: bytes | None = None) -> bytes:
    """The encoded protected header. kid: 16 bytes. Raises CallerFault for another length."""
    if kid is None:
        return encode({_ALG: int(alg)})
    if len(kid) != KEY_ID_BYTES:
        raise CallerFault(Refusal.WRONG_LENGTH, f"a key id has {KEY_ID_BYTES} bytes")
    return encode({_ALG: int(alg), _KEY_ID: kid})


def sig_structure(protected: bytes, external_aad: bytes, payload: bytes) -> bytes:
    """The bytes to be signed: Sig_structure of RFC 9052 section 4.4 for one signer.

    protected: the header as sent or received, never encoded again. external_aad: what both sides know and
    the message does not carry, empty if nothing. payload: also where the message leaves it out.
    """
    return encode([_CONTEXT, protected, external_aad, payload])


def build(protected: bytes, payload: bytes | None, signature: bytes) -> bytes:
    """The message from its parts; payload None leaves it detached.

    Raises CallerFault for a header or a signature that `parse` would refuse.
    """
    try:
        alg, _ = _parse_protected(protected)
        _require_signature_length(alg, signature)
    except PeerFault as fault:
        raise CallerFault(fault.code, fault.text) from fault
    return encode([protected, {}, payload, signature])


def parse(data: bytes | memoryview, cap: int) -> Sign1:
    """Parse untrusted bytes of at most `cap`.

    Raises PeerFault: TOO_LARGE, NOT_CANONICAL or MALFORMED as `decode` does; MALFORMED for another shape or
    a header with anything more; UNSUPPORTED for an algorithm that is not listed; WRONG_LENGTH for a
    signature or key id of another length.
    """
    message = decode(data, cap=cap, max_depth=2, max_items=_MAX_ITEMS, simple=frozenset({NULL}))
    match message:
        case [bytes(protected), dict(unprotected), bytes() | None as payload, bytes(signature)]:
            if unprotected:
                raise PeerFault(Refusal.MALFORMED, "COSE_Sign1 with an unprotected header")
        case _:
            raise PeerFault(Refusal.MALFORMED, "not a COSE_Sign1 array")
    alg, kid = _parse_protected(protected)
    _require_signature_length(alg, signature)
    return Sign1(protected, alg, kid, payload, signature)


def _parse_protected(protected: bytes) -> tuple[Algorithm, bytes | None]:
    header = decode(protected, cap=_PROTECTED_CAP, max_depth=2, max_items=_MAX_ITEMS, simple=frozenset())
    if not isinstance(header, dict) or not {_ALG} <= header.keys() <= {_ALG, _KEY_ID}:
        raise PeerFault(Refusal.MALFORMED, "protected header is not {1: alg} or {1: alg, 4: key id}")
    number, kid = header[_ALG], header.get(_KEY_ID)
    if _KEY_ID in header and not isinstance(kid, bytes):
        raise PeerFault(Refusal.MALFORMED, "key id is not a byte string")
    if kid is not None and len(kid) != KEY_ID_BYTES:
        raise PeerFault(Refusal.WRONG_LENGTH, f"a key id has {KEY_ID_BYTES} bytes")
    if number not in list(Algorithm):
        raise PeerFault(Refusal.UNSUPPORTED, "signature algorithm not in use here")
    return Algorithm(number), kid


def _require_signature_length(alg: Algorithm, signature: bytes) -> None:
    if len(signature) != SIGNATURE_BYTES[alg]:
        raise PeerFault(Refusal.WRONG_LENGTH, f"a signature by {alg.name} has {SIGNATURE_BYTES[alg]} bytes")
