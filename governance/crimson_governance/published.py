"""What a federation published last: read from a repository or a bundle, every signature verified."""

from dataclasses import dataclass, field
from pathlib import Path

from crimson_governance.changes.of_policy import Edition
from crimson_governance.files import read_file
from crimson_governance.outcome import BadInput
from crimson_governance.parties import Parties
from crimson_governance.tuf_documents import parties_of_root
from crimson_protocol.policy.bundle import MAX_BUNDLE, PolicyBundle
from crimson_protocol.policy.document import Policy
from crimson_protocol.policy.update import Trust, anchor_of, update

BUNDLE = "policy.bundle"
# Governors must be able to follow up a policy that has ended: at this time nothing has.
BEFORE_EVERY_END = 0


@dataclass(frozen=True)
class Published:
    """A verified policy, who governs it, and the roots behind it. `anchor`: SHA-256 of the first root."""

    path: Path
    policy: Policy
    parties: Parties
    root_version: int
    anchor: bytes
    bundle: PolicyBundle = field(repr=False)

    @property
    def edition(self) -> Edition:
        """For comparing and explaining."""
        title = f"policy {self.policy.serial} of {self.path}"
        return Edition(title, self.policy, self.parties, self.anchor)


def bundle_path(path: Path) -> Path:
    """The bundle in a repository, or the file itself."""
    return path / BUNDLE if path.is_dir() else path


def read_published(path: Path) -> Published:
    """The published policy in a repository's folder or a bundle's file. An end that has passed is no matter here.

    Its first root is taken as it is: whoever must know that it is theirs compares `anchor`. Raises BadInput where
    there is no bundle, PeerFault and PolicyRefusal for one that does not hold.
    """
    file = bundle_path(path)
    if not file.is_file():
        hint = "give a policy's source folder, a repository with a policy.bundle, or the bundle's file"
        raise BadInput(f"{path} holds no policy", hint, "no-policy")
    data = read_file(file, MAX_BUNDLE)
    bundle = PolicyBundle.from_bytes(data, MAX_BUNDLE)
    if not bundle.roots:
        raise BadInput(f"{path} holds no root", "get the file again", "bad-root")
    verified = update(Trust.anchored(bundle.roots[0]), data, BEFORE_EVERY_END)
    parties = parties_of_root(bundle.roots[-1])
    return Published(path, verified.policy, parties, len(bundle.roots), anchor_of(bundle.roots[0]), bundle)
