"""A published policy in one piece: the TUF metadata that a client would fetch file by file, and the policy.

TUF's own JSON files are inside, byte for byte, so any TUF client reads the same repository.
"""

from dataclasses import dataclass, field
from typing import Annotated

from crimson_protocol.policy.document import MAX_POLICY
from crimson_protocol.wire.records import BytesUpTo, Items, Record

MAX_METADATA = 1 << 20
MAX_ROOTS = 64
MAX_BUNDLE = MAX_POLICY + (24 << 20)
POLICY_TARGET = "policy.cbor"
ARTIFACTS = "artifacts"


@dataclass(frozen=True)
class PolicyBundle(Record):
    """roots: 1.root.json and all that followed, in order. policy: the target `policy.cbor`."""

    roots: Annotated[tuple[bytes, ...], Items(BytesUpTo(MAX_METADATA), MAX_ROOTS)] = field(repr=False)
    timestamp: Annotated[bytes, BytesUpTo(MAX_METADATA)] = field(repr=False)
    snapshot: Annotated[bytes, BytesUpTo(MAX_METADATA)] = field(repr=False)
    targets: Annotated[bytes, BytesUpTo(MAX_METADATA)] = field(repr=False)
    policy: Annotated[bytes, BytesUpTo(MAX_POLICY)] = field(repr=False)
