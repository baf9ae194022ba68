"""Private keys. Each shows as redacted, refuses to be pickled or copied into text, and never compares.

Python cannot wipe memory (docs/LIMITATIONS.md): a key is dropped by dropping its last reference.
"""

from typing import ClassVar, Never, NoReturn, Self

from crimson_protocol.crypto import primitives
from crimson_protocol.crypto.labels import MASK_KEY, PAIR_SECRET
from crimson_protocol.crypto.verify import DualPublic, DualSignature
from crimson_protocol.entropy import Entropy
from crimson_protocol.wire import cbor

SEED_LENGTH = 32


class Secret:
    """Secret bytes. `reveal` is the one way out, so a search for it finds every use."""

    __slots__ = ("__value",)
    LENGTH: ClassVar[int] = 32

    def __init__(self, value: bytes) -> None:
        self.__value = bytes(value)

    def reveal(self) -> bytes:
        return self.__value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised")

    def __eq__(self, other: object) -> Never:
        raise TypeError("secrets are not compared; compare commitments")

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def fresh(cls, entropy: Entropy) -> Self:
        """A new secret of this kind's length."""
        return cls(entropy(cls.LENGTH))


class IdentityKey(Secret):
    """Ed25519 key of a node: signs its round messages."""

    @property
    def public(self) -> bytes:
        return primitives.ed25519_public(self.reveal())

    def sign(self, message: bytes) -> bytes:
        return primitives.ed25519_sign(self.reveal(), message)


class DualKey(Secret):
    """Ed25519 and ML-DSA-65 key of a governor, an enclave or an evidence root (64 bytes of seed)."""

    LENGTH = 2 * SEED_LENGTH

    @property
    def round_signer(self) -> IdentityKey:
        """The Ed25519 half alone, for round messages: they are worthless once the round is over."""
        return IdentityKey(self.reveal()[:SEED_LENGTH])

    @property
    def public(self) -> DualPublic:
        seed = self.reveal()
        return DualPublic(
            primitives.ed25519_public(seed[:SEED_LENGTH]), primitives.mldsa65_public(seed[SEED_LENGTH:])
        )

    def sign(self, message: bytes) -> DualSignature:
        seed = self.reveal()
        return DualSignature(
            primitives.ed25519_sign(seed[:SEED_LENGTH], message),
            primitives.mldsa65_sign(seed[SEED_LENGTH:], message),
        )


class BoxKey(Secret):
    """Hybrid HPKE key (ML-KEM-768 seed then X25519 private key, 96 bytes)."""

    __slots__ = ("__private",)
    LENGTH = primitives.BOX_SEED

    def __init__(self, value: bytes) -> None:
        super().__init__(value)
        # Expanding the seed costs as much as opening a box, and a node opens one per neighbour.
        self.__private = primitives.box_private(value)

    @property
    def public(self) -> bytes:
        return primitives.box_public(self.__private)

    def open(self, info: bytes, box: bytes) -> bytes:
        """Plaintext, or PeerFault(BAD_BOX)."""
        return primitives.box_open(self.__private, info, box)


class RoundRoot(Secret):
    """R_i: the one secret of an attempt from which a node's mask key and pair secrets follow.

    Whoever rebuilds it from shares can therefore open what was sealed to the node and regenerate what
    the node sealed (docs/PROTOCOL.md, "Keys").
    """

    def mask_key(self) -> BoxKey:
        """The node's hybrid key for this attempt's pair boxes."""
        info = cbor.encode([MASK_KEY])
        return BoxKey(primitives.hkdf(self.reveal(), b"", info, BoxKey.LENGTH))

    def pair_secret(self, t0: bytes, sealer: int, peer: int) -> Secret:
        """The secret that this node, as the sealer of the edge, shares with `peer`."""
        info = cbor.encode([PAIR_SECRET, sealer, peer])
        return Secret(primitives.hkdf(self.reveal(), t0, info))
