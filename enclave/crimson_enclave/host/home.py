"""The enclave's home folder: which file lies where, read once before the process gives up its rights."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from crimson_enclave.host.failure import BAD_INPUT, Failure
from crimson_protocol.artifact import MAX_ARTIFACT
from crimson_protocol.policy.bundle import ARTIFACTS, MAX_BUNDLE, MAX_METADATA

_TARGET = re.compile(r"[0-9a-f]{64}\.([0-9a-f]{64})")
_PRIVATE = 0o077


@dataclass(frozen=True)
class Home:
    """Paths of a home folder."""

    root: Path

    @property
    def policy(self) -> Path:
        """The published policy repository, or a copy of it."""
        return self.root / "policy"

    @property
    def bundle(self) -> Path:
        return self.policy / "policy.bundle"

    @property
    def trust_anchor(self) -> Path:
        """The federation's first root, which the governors hand over themselves."""
        return self.root / "root.json"

    @property
    def artifacts(self) -> Path:
        """Initial artifacts, among the repository's targets."""
        return self.policy / "targets" / ARTIFACTS

    @property
    def evidence_root(self) -> Path:
        return self.root / "keys" / "root.pem"

    @property
    def seal_key(self) -> Path:
        return self.root / "keys" / "seal.key"

    @property
    def state(self) -> Path:
        """The one folder that the sandbox may write to."""
        return self.root / "state"

    @property
    def socket(self) -> Path:
        return self.root / "run" / "enclave.sock"


@dataclass(frozen=True)
class HomeFiles:
    """What the files held, not yet parsed. `artifacts`: initial artifacts by the digest in their name."""

    bundle: bytes = field(repr=False)
    root: bytes = field(repr=False)
    evidence_root: bytes = field(repr=False)
    seal_key: bytes = field(repr=False)
    artifacts: dict[bytes, bytes] = field(repr=False)


def read_home(home: Home) -> HomeFiles:
    """Every file of the home, each up to its cap. Raises Failure that names the file."""
    artifacts = {}
    for path in sorted(home.artifacts.iterdir()) if home.artifacts.is_dir() else ():
        if named := _TARGET.fullmatch(path.name):
            artifacts[bytes.fromhex(named[1])] = read_file(path, MAX_ARTIFACT)
    return HomeFiles(
        read_file(home.bundle, MAX_BUNDLE),
        read_file(home.trust_anchor, MAX_METADATA),
        read_file(home.evidence_root, 1 << 16, private=True),
        read_file(home.seal_key, 64, private=True),
        artifacts,
    )


def read_file(path: Path, cap: int, *, private: bool = False) -> bytes:
    """A file of at most `cap` bytes. `private`: nobody but its owner may read it."""
    try:
        # No symbolic link: what a name stands for must not change between two looks.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if private and mode & _PRIVATE:
                raise Failure(BAD_INPUT, "key-readable", f"{path} can be read by others", f"chmod 600 {path}")
            data = file.read(cap + 1)
    except FileNotFoundError as error:
        raise Failure(
            BAD_INPUT, "home-incomplete", f"{path} is missing", "see the operator guide, 'Enclave home'"
        ) from error
    except OSError as error:
        raise Failure(
            BAD_INPUT, "home-unreadable", f"{path} cannot be read: {error.strerror}", "check owner and mode"
        ) from error
    if len(data) > cap:
        raise Failure(BAD_INPUT, "too-large", f"{path} has more than {cap} bytes")
    return data
