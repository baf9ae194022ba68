"""The signed policy as the gateway holds it: read once, verified, and from then on exactly those bytes."""

import hashlib
import os
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from crimson_gateway.files import write_file
from crimson_gateway.settings import SettingsFault
from crimson_protocol.errors import CrimsonError
from crimson_protocol.layout import Layout
from crimson_protocol.policy.bundle import ARTIFACTS, MAX_BUNDLE, MAX_METADATA
from crimson_protocol.policy.continuity import policy_before, refuse_discontinuous
from crimson_protocol.policy.document import Policy
from crimson_protocol.policy.update import Trust, Verified, update

BUNDLE, ANCHOR, TRUST, LAST = "policy.bundle", "root.json", "trust.cbor", "in_force.bundle"
"""The file that is followed, the first root, what is trusted by now, and a copy of the bundle in force: with it the
gateway starts while the file is one that it refuses."""


@dataclass(frozen=True)
class Published:
    """A verified policy, the bundle it came in, and what a later one is verified against.

    Replaced whole, so that a request sees one policy from its beginning to its end.
    """

    verified: Verified
    bundle: bytes = field(repr=False)

    @property
    def policy(self) -> Policy:
        """The policy itself."""
        return self.verified.policy

    @cached_property
    def tag(self) -> str:
        """SHA-256 of the bundle, in hexadecimal."""
        return hashlib.sha256(self.bundle).hexdigest()

    @cached_property
    def vector_lengths(self) -> dict[str, int]:
        """Bytes of a masked vector, by model."""
        return {rules.model: Layout(rules.numbers).packed for rules in self.policy.models}

    @cached_property
    def vector_cap(self) -> int:
        """Most bytes of a masked vector."""
        return max(self.vector_lengths.values(), default=0)


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


def verified(trust: Trust, bundle: bytes, now: int, before: Policy | None = None) -> Published:
    """The policy in a bundle at `now` (Unix seconds). Raises PeerFault and PolicyRefusal, also for one that does not
    follow on the policy `before`."""
    published = Published(update(trust, bundle, now), bundle)
    if before is not None:
        refuse_discontinuous(before, published.policy)
    return published


def read_published(home: Path, repository: Path, now: int, log: FilteringBoundLogger) -> Published:
    """The policy to start with: the repository's, noted before it is used; where that is refused, the last that was in
    force. Raises SettingsFault, PeerFault, PolicyRefusal and OSError."""
    trust, last = read_trust(home), home / LAST
    before = policy_before(read_regular(last, MAX_BUNDLE)) if last.is_file() else None
    try:
        published = verified(trust, read_regular(repository / BUNDLE, MAX_BUNDLE), now, before)
    except (CrimsonError, SettingsFault) as error:
        if not last.is_file():
            raise
        # Whoever follows the repository looks at the same file first of all, and reports it.
        log.error("the policy cannot be used", reason=str(error), instead=LAST)
        published = verified(trust, read_regular(last, MAX_BUNDLE), now)
    keep(home, published)
    return published


def keep(home: Path, published: Published) -> None:
    """Make durable what a later policy is verified against, and the bundle in force. Raises OSError."""
    write_file(home / LAST, published.bundle)
    write_file(home / TRUST, published.verified.trust.to_bytes())


def artifact_path(repository: Path, digest: str) -> Path | None:
    """Where the repository holds the initial artifact of a model digest (hexadecimal)."""
    return next((repository / "targets" / ARTIFACTS).glob(f"*.{digest}"), None)


def read_regular(path: Path, most: int) -> bytes:
    """A file of 1 to `most` bytes, read once; neither a symbolic link nor a pipe is followed. Raises SettingsFault."""
    hint = "copy root.json and the published policy repository there, as the governors gave them out"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            known = os.fstat(descriptor)
            fits = stat.S_ISREG(known.st_mode) and known.st_size <= most
            data = file.read(most + 1) if fits else b""
    except OSError as error:
        raise SettingsFault(f"{path} cannot be read: {error.strerror}", hint) from error
    if not 0 < len(data) <= most:
        raise SettingsFault(f"{path} is no plain file of 1 to {most} bytes", hint)
    return data
