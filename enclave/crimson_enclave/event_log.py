"""The enclave's log: events as canonical leaves over the Merkle tree that checkpoints commit to."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from crimson_protocol.agreement import Terms
from crimson_protocol.events import Decided, Event, Reported
from crimson_protocol.log import MerkleLog, leaf_hash
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import cbor
from crimson_protocol.wire.messages.advertise import Checkpoint


@dataclass
class EventLog:
    """Append-only. `leaves` are the bytes an auditor reads; `tree` is what proofs are made from."""

    leaves: list[bytes] = field(default_factory=list, repr=False)
    tree: MerkleLog = field(default_factory=MerkleLog, repr=False)

    @classmethod
    def of(cls, leaves: Iterable[bytes]) -> "EventLog":
        """A log read back from storage."""
        kept = list(leaves)
        return cls(kept, MerkleLog(map(leaf_hash, kept)))

    def cut(self, size: int) -> None:
        """Forget leaves beyond `size` that never became durable: nobody was told of them."""
        if size < self.tree.size:
            del self.leaves[size:]
            self.tree = MerkleLog(map(leaf_hash, self.leaves))

    def append(self, event: Event) -> int:
        """Add one event; its index."""
        leaf = event.to_bytes()
        self.leaves.append(leaf)
        return self.tree.append(leaf)

    def checkpoint(self) -> Checkpoint:
        """Size and root as of now."""
        return Checkpoint(self.tree.size, self.tree.root())

    def boot(self, policy_digest: bytes, time: int) -> None:
        """The enclave started with a policy."""
        self.append(Event("boot", time, None, 0, 0, policy_digest, None, None))

    def policy(self, digest: bytes, changes: Iterable[tuple[str, str]], time: int) -> None:
        """Another policy counts from here on; nodes that it changed, with what became of them."""
        self.append(Event("policy", time, None, 0, 0, digest, None, None))
        for node, standing in changes:
            self.append(Event("node", time, None, 0, 0, digest, node, standing))

    def decision(self, decided: Decided, model: str, place: tuple[int, int], time: int) -> None:
        """The access rules decided something that a round rests on."""
        self.append(Event("decision", time, model, *place, None, None, None, decided=decided))

    def report(self, reported: Reported, time: int) -> None:
        """The gateway says that it did something."""
        self.append(Event("reported", time, None, 0, 0, None, None, None, reported=reported))

    def phase(self, kind: str, terms: Terms, time: int, code: Refusal | None = None) -> None:
        """An attempt moved on, or ended for `code`."""
        offer = terms.offer
        place = offer.round, offer.attempt
        self.append(Event(kind, time, offer.model, *place, terms.offer_digest, None, code and code.value))

    def charge(self, terms: Terms, charged: bytes, time: int) -> None:
        """A round's privacy cost is charged; the leaf commits to the ledger's entry."""
        offer, digest = terms.offer, hashlib.sha256(charged).digest()
        self.append(Event("charge", time, offer.model, offer.round, offer.attempt, digest, None, None))

    def flag(self, terms: Terms, nodes: tuple[int, ...], names: list[str], code: str, time: int) -> None:
        """A filter flagged a group of nodes, one event each; what belongs to one group carries one digest."""
        offer = terms.offer
        group = hashlib.sha256(cbor.encode([terms.offer_digest, list(nodes)])).digest()
        for name in names:
            self.append(Event("flag", time, offer.model, offer.round, offer.attempt, group, name, code))

    def fault(self, terms: Terms | None, culprit: str | None, code: Refusal, time: int) -> None:
        """Somebody broke a rule."""
        model, place = (
            (terms.offer.model, (terms.offer.round, terms.offer.attempt)) if terms else (None, (0, 0))
        )
        self.append(Event("fault", time, model, *place, None, culprit, code.value))
