"""A federation whose governors all sit in one process: a simulation, which governs itself, and tests."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tuf.api.metadata import Metadata, MetaFile, Signature, Snapshot, Timestamp
from tuf.api.serialization.json import JSONSerializer

from crimson_governance.parties import Parties, Party
from crimson_governance.tuf_documents import sign_document, time_of, unsigned_root, unsigned_targets
from crimson_protocol.policy.bundle import PolicyBundle
from crimson_protocol.policy.document import Policy
from crimson_protocol.secret.keys import DualKey

_SERIALIZER = JSONSerializer(compact=False)
Signers = Sequence[tuple[Party, DualKey]]


@dataclass(frozen=True)
class Government:
    """Every key that signs policies, with the roots so far."""

    governors: tuple[DualKey, ...] = field(repr=False)
    publisher: DualKey = field(repr=False)
    threshold: int
    roots: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def found(
        cls, governors: Sequence[DualKey], publisher: DualKey, created: int, threshold: int = 0
    ) -> "Government":
        """A government with its first root, made at `created` (Unix seconds); all must sign unless told otherwise."""
        new = cls(tuple(governors), publisher, threshold or len(governors), ())
        root = _signed(unsigned_root(new.parties, 1, created), new.signers)
        return cls(new.governors, publisher, new.threshold, (root,))

    def succeeded_by(self, successor: "Government", created: int) -> "Government":
        """The successor, to whom these governors hand over: its root follows theirs, signed by both."""
        document = unsigned_root(successor.parties, len(self.roots) + 1, created)
        root = _signed(document, [*self.signers, *successor.signers])
        roots = (*self.roots, root)
        return Government(successor.governors, successor.publisher, successor.threshold, roots)

    @property
    def parties(self) -> Parties:
        """The same, by public keys."""
        named = tuple(Party(f"governor-{n}", key.public) for n, key in enumerate(self.governors, 1))
        return Parties(named, self.threshold, Party("publisher", self.publisher.public))

    @property
    def signers(self) -> list[tuple[Party, DualKey]]:
        """Each governor with the private key."""
        return list(zip(self.parties.governors, self.governors, strict=True))

    def publish(
        self,
        policy: Policy,
        fresh_until: int,
        artifacts: Mapping[bytes, bytes] | None = None,
        version: int | None = None,
    ) -> PolicyBundle:
        """The signed policy, vouched for until `fresh_until`; nothing of it is judged here.

        artifacts: initial ones by model digest. version: that of snapshot and timestamp, else the policy's serial.
        """
        number, ends = version or policy.serial, time_of(fresh_until)
        targets = _signed(unsigned_targets(policy, artifacts or {}), self.signers[: self.threshold])
        snapshot = Snapshot(number, expires=ends, meta={"targets.json": MetaFile(policy.serial)})
        snapshot_bytes = self._vouched(snapshot)
        digest = {"sha256": hashlib.sha256(snapshot_bytes).hexdigest()}
        meta = MetaFile(number, len(snapshot_bytes), digest)
        timestamp = self._vouched(Timestamp(number, expires=ends, snapshot_meta=meta))
        return PolicyBundle(self.roots, timestamp, snapshot_bytes, targets, policy.to_bytes())

    def _vouched(self, document: Snapshot | Timestamp) -> bytes:
        signers = [(self.parties.publisher, self.publisher)]
        metadata: Metadata = Metadata(document)  # type: ignore[type-arg]
        return _signed(metadata.to_bytes(_SERIALIZER), signers)


def _signed(document: bytes, signers: Signers) -> bytes:
    metadata: Metadata = Metadata.from_bytes(document)  # type: ignore[type-arg]
    for party, key in signers:
        for identifier, value in sign_document(document, party, key).items():
            metadata.signatures[identifier] = Signature(identifier, value)
    return metadata.to_bytes(_SERIALIZER)
