"""Boxes of a round: what each holds, and the context that its seal is bound to (docs/PROTOCOL.md, "Boxes")."""

from dataclasses import dataclass

from crimson_protocol.crypto import primitives
from crimson_protocol.crypto.labels import PAIR_BOX, SHARE_BOX, SKETCH_BOX, UNMASK_BOX
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import BoxKey, Secret
from crimson_protocol.wire import cbor

SHARE = 32
SHARE_BOX_LENGTH = primitives.BOX_OVERHEAD + 2 * SHARE
PAIR_BOX_LENGTH = primitives.BOX_OVERHEAD + SHARE


@dataclass(frozen=True)
class HeldShares:
    """One holder's Shamir shares of another node's self-mask seed b and round root R."""

    self_share: Secret
    root_share: Secret


def refuse_bad_key(public: bytes) -> None:
    """PeerFault(MALFORMED) for a public key that nothing can be sealed to: whoever sealed first would fail."""
    primitives.box_seal(public, b"", b"")


def share_info(t0: bytes, sender: int, recipient: int) -> bytes:
    """Context of a share box."""
    return cbor.encode([SHARE_BOX, t0, sender, recipient])


def pair_info(t0: bytes, sender: int, recipient: int) -> bytes:
    """Context of a pair box."""
    return cbor.encode([PAIR_BOX, t0, sender, recipient])


def unmask_info(v: bytes, sender: int) -> bytes:
    """Context of the box that carries a node's opened shares to the enclave."""
    return cbor.encode([UNMASK_BOX, v, sender])


def seal_shares(public: bytes, info: bytes, shares: HeldShares) -> bytes:
    """Both shares for one holder, under its share key."""
    return primitives.box_seal(public, info, shares.self_share.reveal() + shares.root_share.reveal())


def open_shares(key: BoxKey, info: bytes, box: bytes) -> HeldShares:
    """Reverse of `seal_shares`; PeerFault(BAD_BOX) for another length than two shares."""
    plain = key.open(info, box)
    if len(plain) != 2 * SHARE:
        raise PeerFault(Refusal.BAD_BOX, "a share box holds another length than two shares")
    return HeldShares(Secret(plain[:SHARE]), Secret(plain[SHARE:]))


def seal_pair(public: bytes, info: bytes, secret: Secret) -> bytes:
    """A pair secret for the other end of the edge, under its mask key."""
    return primitives.box_seal(public, info, secret.reveal())


def open_pair(key: BoxKey, info: bytes, box: bytes) -> Secret:
    """Reverse of `seal_pair`; PeerFault(BAD_BOX) for another length than one secret."""
    plain = key.open(info, box)
    if len(plain) != SHARE:
        raise PeerFault(Refusal.BAD_BOX, "a pair box holds another length than one secret")
    return Secret(plain)


def seal_opened(round_key: bytes, v: bytes, sender: int, plaintext: bytes) -> bytes:
    """A node's opened shares, for the enclave's round key and this verdict alone."""
    return primitives.box_seal(round_key, unmask_info(v, sender), plaintext)


def sketch_info(t2: bytes, sender: int) -> bytes:
    """Context of the box that carries a node's sketch to the enclave."""
    return cbor.encode([SKETCH_BOX, t2, sender])


def seal_sketch(round_key: bytes, t2: bytes, sender: int, plaintext: bytes) -> bytes:
    """A node's sketch for the enclave's round key."""
    return primitives.box_seal(round_key, sketch_info(t2, sender), plaintext)
