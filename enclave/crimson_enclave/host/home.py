"""The enclave's home folder: which file lies where, read once before the process gives up its rights."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from crimson_enclave.host.failure import BAD_INPUT, Failure
from crimson_protocol.artifact import MAX_ARTIFACT
from crimson_protocol.policy.document import MAX_POLICY

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PRIVATE = 0o077


@dataclass(frozen=True)
class Home:
    """Paths of a home folder."""

    root: Path

    @property
    def policy(self) -> Path:
        return self.root / "policy.cbor"

    @property
    def governor(self) -> Path:
        return self.root / "governor.cbor"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

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

    policy: bytes = field(repr=False)
    governor: bytes = field(repr=False)
    evidence_root: bytes = field(repr=False)
    seal_key: bytes = field(repr=False)
    artifacts: dict[bytes, bytes] = field(repr=False)


def read_home(home: Home) -> HomeFiles:
    """Every file of the home, each up to its cap. Raises Failure that names the file."""
    artifacts = {}
    for path in sorted(home.artifacts.iterdir()) if home.artifacts.is_dir() else ():
        if _DIGEST.fullmatch(path.name):
            artifacts[bytes.fromhex(path.name)] = read_file(path, MAX_ARTIFACT)
    return HomeFiles(
        read_file(home.policy, MAX_POLICY + 8192),
        read_file(home.governor, 8192),
        read_file(home.evidence_root, 1 << 16, private=True),
        read_file(home.seal_key, 64, private=True),
        artifacts,
    )


def read_file(path: Path, cap: int, *, private: bool = False) -> bytes:
    """A file of at most `cap` bytes. `private`: nobody but its owner may read it."""
    try:
        with open(path, "rb") as file:
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
