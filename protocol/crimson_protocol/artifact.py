"""What a release carries: the new parameters, the exact sums of the counters, or both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.records import BytesUpTo, Record

MAX_PARAMETERS = 1 << 28
COUNTER_BYTES = 16
MAX_ARTIFACT = MAX_PARAMETERS + (1 << 24) + 64


@dataclass(frozen=True)
class Artifact(Record):
    """Parameters as little-endian float32; counters as 16-byte big-endian two's complement integers."""

    parameters: Annotated[bytes, BytesUpTo(MAX_PARAMETERS)]
    counters: Annotated[bytes, BytesUpTo(1 << 24)]

    @classmethod
    def of(cls, parameters: NDArray[np.float32], counters: Sequence[int] = ()) -> "Artifact":
        """Encode a vector of finite parameters and exact integer counters."""
        packed = b"".join(counter.to_bytes(COUNTER_BYTES, "big", signed=True) for counter in counters)
        return cls(np.asarray(parameters, "<f4").tobytes(), packed)

    def vector(self) -> NDArray[np.float32]:
        """The parameters, read-only. Raises PeerFault(MODEL_REJECTED) unless all are finite."""
        if len(self.parameters) % 4:
            raise PeerFault(Refusal.MODEL_REJECTED, "the parameters are not whole float32 values")
        values = np.frombuffer(self.parameters, "<f4")
        if not np.isfinite(values).all():
            raise PeerFault(Refusal.MODEL_REJECTED, "the parameters are not all finite")
        return values

    def counts(self) -> list[int]:
        """The counters, in the plan's order."""
        if len(self.counters) % COUNTER_BYTES:
            raise PeerFault(Refusal.MODEL_REJECTED, "the counters are not whole integers")
        starts = range(0, len(self.counters), COUNTER_BYTES)
        return [int.from_bytes(self.counters[at : at + COUNTER_BYTES], "big", signed=True) for at in starts]
