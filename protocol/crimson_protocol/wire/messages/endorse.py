"""Before any round: a node vouches that nothing it has seen is newer than the state of this instance (step 0)."""

from dataclasses import dataclass

from crimson_protocol.wire.records import Count, Digest, Name, NodeIndex, Record


@dataclass(frozen=True)
class Endorse(Record):
    """A node's word for one instance per epoch: its log extends everything that the node saw before."""

    federation: Name
    node: NodeIndex
    epoch: Count
    claims_digest: Digest
