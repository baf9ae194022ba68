"""Three governors of whom two must sign, their publisher, and bundles of theirs with any one thing wrong.

Everything that a test does not alter is as it should be: digests fit and signatures hold, so that a refusal is for
what was altered.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.playground import FOUNDED, NOW, Parties, entropy, make_parties
from tuf.api.metadata import Metadata, MetaFile, Signature, Signed, Snapshot, Timestamp
from tuf.api.serialization.json import JSONSerializer

from crimson_governance.parties import Parties as Governing
from crimson_governance.parties import Party
from crimson_governance.tuf_documents import sign_document, time_of, unsigned_root, unsigned_targets
from crimson_protocol.policy.bundle import PolicyBundle
from crimson_protocol.policy.document import Policy
from crimson_protocol.secret.keys import DualKey

PAIR = (0, 1)
ED25519, ML_DSA = (0,), (1,)
WEEK = 7 * 86400
Edit = Callable[[Signed], None]


@dataclass(frozen=True)
class Signer:
    """A party with its keys, and which of the two it signs with."""

    party: Party
    key: DualKey = field(repr=False)
    halves: tuple[int, ...] = PAIR

    @classmethod
    def named(cls, name: str, seed: object = "") -> "Signer":
        key = DualKey.fresh(entropy(f"court/{name}/{seed}"))
        return cls(Party(name, key.public), key)

    def only(self, halves: tuple[int, ...]) -> "Signer":
        return replace(self, halves=halves)

    def calls_itself(self, name: str) -> "Signer":
        """The same keys under another name."""
        return replace(self, party=Party(name, self.party.public))


Signers = Sequence[Signer]


def signed(document: Metadata | bytes, signers: Signers) -> bytes:
    """The document with exactly these signatures."""
    data = document if isinstance(document, bytes) else document.to_bytes(JSONSerializer(compact=False))
    metadata = Metadata.from_bytes(data)
    for signer in signers:
        made = list(sign_document(data, signer.party, signer.key).items())
        for identifier, value in (made[half] for half in signer.halves):
            metadata.signatures[identifier] = Signature(identifier, value)
    return metadata.to_bytes(JSONSerializer(compact=False))


@dataclass
class Court:
    """Who governs, and the parties that follow them."""

    seed: object = 0
    threshold: int = 2

    def __post_init__(self) -> None:
        self.governors = [Signer.named(f"governor-{n}", self.seed) for n in (1, 2, 3)]
        self.publisher = Signer.named("publisher", self.seed)
        self.members: Parties = make_parties(4, seed=f"court/{self.seed}")
        self.roots: tuple[bytes, ...] = (self.root(1, self.governors),)

    def root(
        self,
        version: int,
        by: Signers,
        governors: Signers | None = None,
        publisher: Signer | None = None,
        edit: Edit = lambda _: None,
        created: int = FOUNDED,
    ) -> bytes:
        """A root that lists these parties, signed by those; both are the court's own where nobody is named."""
        listed = tuple(signer.party for signer in governors or self.governors)
        parties = Governing(listed, self.threshold, (publisher or self.publisher).party)
        document = Metadata.from_bytes(unsigned_root(parties, version, created))
        edit(document.signed)
        return signed(document, by)

    def policy(self, serial: int, **changes: object) -> Policy:
        return replace(self.members.policy, serial=serial, **changes)

    def bundle(
        self,
        serial: int,
        number: int | None = None,
        *,
        roots: tuple[bytes, ...] | None = None,
        edit: Mapping[str, Edit] | None = None,
        by: Mapping[str, Signers] | None = None,
        policy: Policy | None = None,
    ) -> PolicyBundle:
        """A whole bundle. number: version of snapshot and timestamp. edit: what is altered in a role's document
        before it is signed. by: who signs a role's document instead of those who should."""
        edit, number, policy = edit or {}, number or serial, policy or self.policy(serial)
        who = {"targets": self.governors[:2], "snapshot": [self.publisher], "timestamp": [self.publisher]}
        who |= by or {}

        def made(role: str, document: Metadata) -> bytes:
            edit.get(role, lambda _: None)(document.signed)
            return signed(document, who[role])

        targets = made("targets", Metadata.from_bytes(unsigned_targets(policy, {})))
        meta, ends = MetaFile(Metadata.from_bytes(targets).signed.version), time_of(NOW + WEEK)
        snapshot = made("snapshot", Metadata(Snapshot(number, expires=ends, meta={"targets.json": meta})))
        digest = {"sha256": hashlib.sha256(snapshot).hexdigest()}
        version = Metadata.from_bytes(snapshot).signed.version
        named = MetaFile(version, len(snapshot), digest)
        timestamp = made("timestamp", Metadata(Timestamp(number, expires=ends, snapshot_meta=named)))
        return PolicyBundle(roots or self.roots, timestamp, snapshot, targets, policy.to_bytes())


def version(number: int) -> Edit:
    """Alters a document's version."""

    def edit(document: Signed) -> None:
        document.version = number

    return edit


def expired(document: Signed) -> None:
    """Alters a document's end: it was a second ago."""
    document.expires = time_of(NOW - 1)
