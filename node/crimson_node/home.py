"""A node's home folder: what lies in it, who may read it, and that only one agent lives there."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crimson_node.durable import make_folder, write_file
from crimson_node.outcome import BadConfiguration
from crimson_node.settings import NodeSettings, read_settings
from crimson_protocol.errors import CrimsonError
from crimson_protocol.policy.bundle import MAX_BUNDLE, MAX_METADATA
from crimson_protocol.policy.continuity import policy_before
from crimson_protocol.policy.document import Policy
from crimson_protocol.policy.update import Trust
from crimson_protocol.secret.key_files import from_pem
from crimson_protocol.secret.keys import BoxKey, IdentityKey

MAX_KEY_FILE = 1 << 16
PRIVATE = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class NodeKeys:
    """The node's two private keys."""

    identity: IdentityKey
    encryption: BoxKey


@dataclass(frozen=True)
class NodeHome:
    """Names of everything in a node's home."""

    root: Path

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox"

    @property
    def identity(self) -> Path:
        return self.root / "keys" / "identity.pem"

    @property
    def encryption(self) -> Path:
        return self.root / "keys" / "encryption.pem"

    @property
    def trust_anchor(self) -> Path:
        """The federation's first root, by which this node knows it."""
        return self.root / "root.json"

    @property
    def trust(self) -> Path:
        """How far the federation's signed policies were followed."""
        return self.root / "trust.cbor"

    def artifact(self, model: str) -> Path:
        """Where the last released artifact of a model lies."""
        return self.root / "models" / f"{_file_name(model)}.artifact"

    def receipt(self, model: str, round_: int) -> Path:
        """Where the receipt of a round lies."""
        return self.root / "receipts" / f"{_file_name(model)}-{round_}.cbor"

    def settings(self) -> NodeSettings:
        """Checked settings of `node.json`."""
        return read_settings(self.root)

    def keys(self) -> NodeKeys:
        """The keys, where their files are closed to others. Raises BadConfiguration."""
        for problem in self.exposed():
            raise BadConfiguration(*problem, code="exposed-files")
        path, hint = self.identity, "restore the key file from the node's backup, or join anew"
        try:
            identity = from_pem(IdentityKey, _key_file(path))
            path = self.encryption
            encryption = from_pem(BoxKey, _key_file(path))
            return NodeKeys(identity, encryption)
        except CrimsonError as error:
            raise BadConfiguration(f"{path} does not hold the key it should", hint, "bad-key") from error

    @property
    def bundle(self) -> Path:
        """The policy that was followed last, as it came."""
        return self.root / "policy.bundle"

    def policy_before(self) -> Policy | None:
        """The policy that was followed last, if it is still there. Raises BadConfiguration."""
        if not self.bundle.exists():
            return None
        try:
            return policy_before(_bounded(self.bundle, MAX_BUNDLE))
        except (CrimsonError, OSError) as error:
            hint = "remove it: the node's trust.cbor alone says which policy counts"
            raise BadConfiguration(f"{self.bundle} cannot be used: {error}", hint, "bad-trust") from error

    def read_trust(self) -> Trust:
        """What policies are verified against: the last state of it, else the first root. Raises BadConfiguration."""
        path = self.trust_anchor
        try:
            anchored = Trust.anchored(_bounded(path, MAX_METADATA))
            if not self.trust.exists():
                return anchored
            path = self.trust
            trust = Trust.from_bytes(_bounded(path, 2 * MAX_METADATA), 2 * MAX_METADATA)
        except (CrimsonError, OSError) as error:
            hint = "restore it from the node's backup, or join anew"
            raise BadConfiguration(f"{path} cannot be used: {error}", hint, "bad-trust") from error
        if trust.anchor != anchored.anchor:
            text = f"{self.trust} belongs to another federation than {self.trust_anchor}"
            raise BadConfiguration(text, "restore both from the same backup, or join anew", "bad-trust")
        return trust

    def write_trust(self, trust: Trust, bundle: bytes | None = None) -> None:
        """Durable before the policy that it speaks of, and that came in `bundle`, is followed."""
        if bundle is not None:
            write_file(self.bundle, bundle)
        write_file(self.trust, trust.to_bytes())

    def prepare(self) -> None:
        """Make the folders that a run writes to."""
        for name in ("outbox", "models", "receipts"):
            make_folder(self.root / name)

    def exposed(self) -> list[tuple[str, str]]:
        """Folders and key files that others may read, or that are not ours: (what is wrong, what to do)."""
        problems = []
        for path in (self.root, self.identity.parent, self.identity, self.encryption):
            try:
                found = path.stat()
            except OSError as error:
                problems.append((f"{path}: {error.strerror}", "give the node's home folder with --home"))
                if path == self.root:
                    break
                continue
            if found.st_uid != os.geteuid():
                problems.append((f"{path} belongs to another user", f"run as its owner, or chown {path}"))
            elif found.st_mode & PRIVATE:
                mode = "700" if path.is_dir() else "600"
                problems.append((f"{path} is open to other users", f"chmod {mode} {path}"))
        return problems

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the home for one agent. Raises BadConfiguration(home-in-use); a kill releases it."""
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                hint = "stop the other agent first; two on one journal could sign twice"
                raise BadConfiguration(
                    f"another agent runs on {self.root}", hint, code="home-in-use"
                ) from None
            yield
        finally:
            os.close(descriptor)


def _key_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_KEY_FILE)


def _bounded(path: Path, cap: int) -> bytes:
    with path.open("rb") as file:
        return file.read(cap + 1)


def _file_name(model: str) -> str:
    """A model's name as one path component; the policy may put anything printable in it."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in model)
    return plain if plain == model and not plain.startswith(".") else f"_{model.encode().hex()}"
