"""What a model's strategy remembers from round to round, as one record that is sealed with the state."""

from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray

from crimson_protocol.wire.records import BytesUpTo, Record

MAX_MOMENT = 1 << 31
MAX_MEMORY = 3 * MAX_MOMENT + 64
LITTLE = np.dtype("<f8")

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Memory(Record):
    """Moments of the server optimiser and the last aggregated change, float64 (d,) each, empty before they exist.

    change: what the last round's updates came to before the optimiser; centered clipping starts from it, and the
    sketch filter compares directions with it.
    """

    first: Annotated[bytes, BytesUpTo(MAX_MOMENT)] = field(default=b"", repr=False)
    second: Annotated[bytes, BytesUpTo(MAX_MOMENT)] = field(default=b"", repr=False)
    change: Annotated[bytes, BytesUpTo(MAX_MOMENT)] = field(default=b"", repr=False)

    @classmethod
    def of(cls, first: Vector | None, second: Vector | None, change: Vector | None) -> Self:
        """The record of these vectors."""
        return cls(_bytes(first), _bytes(second), _bytes(change))

    def vector(self, name: str, size: int) -> Vector:
        """One of the three, or zeros where it does not exist yet."""
        data: bytes = getattr(self, name)
        if not data:
            return np.zeros(size)
        return np.frombuffer(data, LITTLE).astype(np.float64)


def _bytes(values: Vector | None) -> bytes:
    return b"" if values is None else values.astype(LITTLE).tobytes()
