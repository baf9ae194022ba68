"""Round 4, between freeze and verdict: a node's sketch of the very vector that is frozen (steps 7a and 7b)."""

from dataclasses import dataclass, field
from typing import Annotated

from crimson_protocol.wire.records import BytesUpTo, Digest, NodeIndex, Record, UInt

MAX_SKETCH = 4096
MAX_SKETCH_BOX = 8 * MAX_SKETCH + 2048


@dataclass(frozen=True)
class Sketch(Record):
    """A node's sketch of its encoded update, sealed to the round key."""

    t2: Digest
    node: NodeIndex
    box: Annotated[bytes, BytesUpTo(MAX_SKETCH_BOX)]


@dataclass(frozen=True)
class SketchedUpdate(Record):
    """Content of a Sketch box: the weight lane as it was encoded, and the sketch as little-endian int64."""

    weight: Annotated[int, UInt(2**32)] = field(repr=False)
    values: Annotated[bytes, BytesUpTo(8 * MAX_SKETCH)] = field(repr=False)
