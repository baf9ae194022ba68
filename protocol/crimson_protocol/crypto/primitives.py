"""Every call into `cryptography` that touches a secret. `crimson_protocol.secret` alone imports this."""

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal

MLKEM_PUBLIC = 1184
MLKEM_SEED = 64
X25519_LENGTH = 32
BOX_PUBLIC = MLKEM_PUBLIC + X25519_LENGTH
BOX_SEED = MLKEM_SEED + X25519_LENGTH
BOX_OVERHEAD = 1136
GCM_NONCE = 12
GCM_TAG = 16

Expand = Callable[[memoryview, memoryview], int]
"""Encrypts the first buffer (zeros) into the second: one step of a keystream."""

_HPKE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def hkdf(ikm: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869)."""
    return HKDF(hashes.SHA256(), length, salt, info).derive(ikm)


def aes256_ctr(key: bytes) -> Expand:
    """Keystream of AES-256-CTR from block zero. A zero IV is safe because one key expands one vector once."""
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update_into


def chacha20(key: bytes) -> Expand:
    """Keystream of ChaCha20 from block zero, for machines without AES instructions."""
    return Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor().update_into


def gcm_seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-256-GCM; returns ciphertext and tag (16 bytes longer than the plaintext)."""
    return AESGCM(key).encrypt(nonce, plaintext, associated)


def gcm_open(key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """Reverse of `gcm_seal`, or PeerFault(BAD_BOX)."""
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, associated)
    except (InvalidTag, ValueError) as error:
        raise PeerFault(Refusal.BAD_BOX, "the ciphertext does not open") from error


BoxPrivate = tuple[MLKEM768PrivateKey, X25519PrivateKey]
"""A hybrid private key in the library's own form."""


def box_private(seed: bytes) -> BoxPrivate:
    """The hybrid key that `seed` (ML-KEM-768 seed then X25519 private key, 96 bytes) determines."""
    return (
        MLKEM768PrivateKey.from_seed_bytes(seed[:MLKEM_SEED]),
        X25519PrivateKey.from_private_bytes(seed[MLKEM_SEED:]),
    )


def box_public(private: BoxPrivate) -> bytes:
    """Raw public half: ML-KEM-768 then X25519, 1216 bytes."""
    mlkem, x25519 = private
    return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()


def box_seal(public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """HPKE base mode (RFC 9180) with MLKEM768-X25519; 1136 bytes longer than the plaintext.

    Base mode does not authenticate the sender: every box travels inside something signed.
    """
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public[:MLKEM_PUBLIC])
        x25519 = X25519PublicKey.from_public_bytes(public[MLKEM_PUBLIC:])
        return _HPKE.encrypt(plaintext, hpke.MLKEM768X25519PublicKey(mlkem, x25519), info=info)
    except ValueError as error:
        raise PeerFault(Refusal.MALFORMED, "the box key is not a valid hybrid public key") from error


def box_open(private: BoxPrivate, info: bytes, box: bytes) -> bytes:
    """Reverse of `box_seal` with the private half, or PeerFault(BAD_BOX)."""
    try:
        return _HPKE.decrypt(box, hpke.MLKEM768X25519PrivateKey(*private), info=info)
    except (InvalidTag, ValueError) as error:
        raise PeerFault(Refusal.BAD_BOX, "the box does not open") from error


def ed25519_public(seed: bytes) -> bytes:
    """Public half of an Ed25519 key (32-byte seed)."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def ed25519_sign(seed: bytes, message: bytes) -> bytes:
    """Ed25519 signature (64 bytes, RFC 8032)."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def mldsa65_public(seed: bytes) -> bytes:
    """Public half of an ML-DSA-65 key (32-byte seed)."""
    return MLDSA65PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()


def mldsa65_sign(seed: bytes, message: bytes) -> bytes:
    """ML-DSA-65 signature (3309 bytes, FIPS 204, empty context)."""
    return MLDSA65PrivateKey.from_seed_bytes(seed).sign(message)


PrivateKey = Ed25519PrivateKey | MLDSA65PrivateKey | X25519PrivateKey | MLKEM768PrivateKey
SEEDED: dict[str, Callable[[bytes], PrivateKey]] = {
    "ed25519": Ed25519PrivateKey.from_private_bytes,
    "mldsa65": MLDSA65PrivateKey.from_seed_bytes,
    "x25519": X25519PrivateKey.from_private_bytes,
    "mlkem768": MLKEM768PrivateKey.from_seed_bytes,
}
"""Private keys by algorithm, from raw bytes or seed."""
_ALGORITHM = {
    Ed25519PrivateKey: "ed25519",
    MLDSA65PrivateKey: "mldsa65",
    X25519PrivateKey: "x25519",
    MLKEM768PrivateKey: "mlkem768",
}
_PEM_END = b"-----END PRIVATE KEY-----"


def pem_encode(algorithm: str, seed: bytes) -> bytes:
    """An unencrypted PKCS#8 PEM block."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return SEEDED[algorithm](seed).private_bytes(encoding, form, serialization.NoEncryption())


def pem_decode(data: bytes) -> list[tuple[str, bytes]]:
    """Algorithm and raw bytes of every PKCS#8 PEM block, in order; PeerFault(MALFORMED) for anything else."""
    blocks = [block + _PEM_END for block in data.split(_PEM_END)[:-1]]
    found = []
    for block in blocks:
        try:
            key = serialization.load_pem_private_key(block, None)
        except (ValueError, TypeError) as error:
            raise PeerFault(Refusal.MALFORMED, "not a PKCS#8 PEM private key") from error
        kinds = [name for kind, name in _ALGORITHM.items() if isinstance(key, kind)]
        if not kinds:
            raise PeerFault(Refusal.UNSUPPORTED, "a key of an algorithm that is not in use here")
        found.append((kinds[0], key.private_bytes_raw()))  # type: ignore[union-attr]
    return found
