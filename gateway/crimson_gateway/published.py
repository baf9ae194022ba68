"""The signed policy as the gateway holds it: read once, verified, and from then on exactly those bytes."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from crimson_gateway.files import write_file
from crimson_gateway.settings import SettingsFault
from crimson_protocol.policy.bundle import ARTIFACTS, MAX_BUNDLE, MAX_METADATA
from crimson_protocol.policy.document import Policy
from crimson_protocol.policy.update import Trust, Verified, update

BUNDLE, ANCHOR, TRUST = "policy.bundle", "root.json", "trust.cbor"


@dataclass(frozen=True)
class Published:
    """A verified policy, the bundle it came in, and what a later one is verified against."""

    verified: Verified
    bundle: bytes = field(repr=False)

    @property
    def policy(self) -> Policy:
        """The policy itself."""
        return self.verified.policy

    @property
    def tag(self) -> str:
        """SHA-256 of the bundle, in hexadecimal."""
        return hashlib.sha256(self.bundle).hexdigest()


def read_trust(home: Path) -> Trust:
    """What the next policy is verified against: the last state of it, else the first root. Raises SettingsFault and
    PeerFault."""
    anchored = Trust.anchored(read_regular(home / ANCHOR, MAX_METADATA))
    path = home / TRUST
    if not path.exists():
        return anchored
    trust = Trust.from_bytes(read_regular(path, 2 * MAX_METADATA), 2 * MAX_METADATA)
    if trust.anchor != anchored.anchor:
        text = f"{path} belongs to another federation than {home / ANCHOR}"
        raise SettingsFault(text, "restore both from the same backup")
    return trust


def read_published(home: Path, repository: Path, now: int) -> Published:
    """The repository's newest policy at `now` (Unix seconds), noted before it is used. Raises SettingsFault, PeerFault,
    PolicyRefusal and OSError."""
    bundle = read_regular(repository / BUNDLE, MAX_BUNDLE)
    published = Published(update(read_trust(home), bundle, now), bundle)
    write_file(home / TRUST, published.verified.trust.to_bytes())
    return published


def artifact_path(repository: Path, digest: str) -> Path | None:
    """Where the repository holds the initial artifact of a model digest (hexadecimal)."""
    return next((repository / "targets" / ARTIFACTS).glob(f"*.{digest}"), None)


def read_regular(path: Path, most: int) -> bytes:
    """A file of at most `most` bytes, and no symbolic link. Raises SettingsFault."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        hint = "copy root.json and the published policy repository there, as the governors gave them out"
        raise SettingsFault(f"{path} cannot be read: {error.strerror}", hint) from error
    with open(descriptor, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise SettingsFault(f"{path} is larger than {most} bytes", "it is not the file that belongs there")
    return data
