"""Files that are whole or not there, and private keys that only their owner can read."""

import os
import stat
from pathlib import Path

from crimson_governance.outcome import BadInput
from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.errors import CallerFault
from crimson_protocol.secret.key_files import from_pem, to_pem
from crimson_protocol.secret.keys import DualKey

PRIVATE, PUBLIC = 0o600, 0o644
MAX_PRIVATE = 16 << 10


def write_file(path: Path, data: bytes, mode: int = PUBLIC) -> None:
    """Replace the file's content. After a kill at any moment it is the old or the new one."""
    temporary = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_file(path: Path, most: int) -> bytes:
    """At most `most` bytes of a plain file. Raises BadInput for more, OSError where it cannot be read."""
    with open(path, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise BadInput(f"{path} is longer than {most} bytes", "give the file that was meant", "file-too-long")
    return data


def write_private_key(path: Path, key: DualKey) -> None:
    """A new private key, for its owner alone. Raises BadInput rather than write over one."""
    if path.exists() or path.is_symlink():
        hint = "give another path; a key that is overwritten is lost"
        raise BadInput(f"{path} is there already", hint, "key-exists")
    write_file(path, to_pem(key), PRIVATE)


def read_private_key(path: Path) -> DualKey:
    """A governor's, the publisher's or a software root's private key.

    Raises BadInput where others on this machine may read the file, or it holds no such key.
    """
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadInput(f"{path} can be read by others", f"chmod 600 {path}", "exposed-key")
    try:
        return from_pem(DualKey, read_file(path, MAX_PRIVATE))
    except CallerFault:
        hint = "give the file that `crimson policy key new` wrote, not the .pub beside it"
        raise BadInput(f"{path} holds no private governor key", hint, "bad-governor-key") from None


def refuse_within(path: Path, folder: Path) -> None:
    """Raise BadInput where a private key's path lies in a source folder: such folders are copied and mailed."""
    if path.resolve().is_relative_to(folder.resolve()):
        hint = "keep private keys in a folder of your own, outside of what is shared"
        raise BadInput(f"{path} lies within {folder}", hint, "private-key-in-source")


def same_key(key: DualKey, public: DualPublic) -> bool:
    """Whether a private key belongs to public ones."""
    return key.public == public
