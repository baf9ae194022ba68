"""The site's two key pairs: made here, written for their owner alone, never sent."""

from pathlib import Path

from crimson_node.durable import make_folder, write_file
from crimson_node.home import MAX_KEY_FILE, NodeKeys
from crimson_node.outcome import BadConfiguration
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import CrimsonError
from crimson_protocol.secret.key_files import from_pem, to_pem
from crimson_protocol.secret.keys import BoxKey, IdentityKey
from crimson_protocol.words import fingerprint

IDENTITY, ENCRYPTION = "identity.pem", "encryption.pem"


def fresh_keys(entropy: Entropy) -> NodeKeys:
    """New keys, in memory alone."""
    return NodeKeys(IdentityKey.fresh(entropy), BoxKey.fresh(entropy))


def words_of(keys: NodeKeys) -> tuple[str, ...]:
    """The fingerprint to read over the phone."""
    return fingerprint(keys.identity.public, keys.encryption.public)


def write_keys(folder: Path, keys: NodeKeys) -> None:
    """Both files, durable, in a folder of mode 0700."""
    make_folder(folder)
    write_file(folder / IDENTITY, to_pem(keys.identity))
    write_file(folder / ENCRYPTION, to_pem(keys.encryption))


def read_keys(folder: Path) -> NodeKeys | None:
    """The keys in a folder; None unless both files are there. Raises BadConfiguration(bad-key)."""
    paths = folder / IDENTITY, folder / ENCRYPTION
    if not all(path.is_file() for path in paths):
        return None
    try:
        identity, encryption = (_bounded(path) for path in paths)
        return NodeKeys(from_pem(IdentityKey, identity), from_pem(BoxKey, encryption))
    except CrimsonError as error:
        hint = "restore the key files from the node's backup"
        raise BadConfiguration(f"{folder} does not hold the keys it should", hint, "bad-key") from error


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_KEY_FILE)
