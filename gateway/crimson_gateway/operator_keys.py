"""Keys of operators and of invitations. With tls.py, where this room calls `cryptography`."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from crimson_gateway.files import write_file
from crimson_gateway.settings import SettingsFault

MAX_FILE = 1 << 14


@dataclass(frozen=True)
class OperatorKey:
    """An operator's Ed25519 key: the public half, 32 bytes, and the private one as PKCS#8 PEM."""

    public: bytes
    pem: bytes = field(repr=False)


def make_operator_key(path: Path) -> bytes:
    """A new key for an operator in `path` (PKCS#8 PEM, 0600); gives the public key, 32 bytes."""
    key = Ed25519PrivateKey.generate()
    write_file(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return _public(key)


def read_operator_key(path: Path) -> OperatorKey:
    """The key in a file. Raises SettingsFault where it holds none, and OSError."""
    hint = "give the file keys/operator.pem that `crimson gateway init` made, or your own with --key"
    with path.open("rb") as file:
        pem = file.read(MAX_FILE + 1)
    if len(pem) > MAX_FILE:
        raise SettingsFault(f"{path} is too large for a key", hint)
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        # The library's own words could quote the file.
        raise SettingsFault(f"{path} holds no plain PEM private key", hint) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsFault(f"{path} holds another kind of key than Ed25519", hint)
    return OperatorKey(_public(key), pem)


def public_of_seed(seed: bytes) -> bytes:
    """The public key, 32 bytes, of an invitation whose seed is given, 32 bytes."""
    return _public(Ed25519PrivateKey.from_private_bytes(seed))


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
