"""The witness: sees what no party of a real federation can, and compares the secure sum with the plain one.

Agents and the enclave take it as a constructor argument; no flag, variable or file reaches it.
"""

from dataclasses import dataclass, field

import numpy as np

from crimson_enclave.totals import Totals
from crimson_protocol.fixed_point import decode
from crimson_protocol.layout import Words


@dataclass
class Witness:
    """Collects one attempt's encoded vectors and, at release, the opened totals."""

    encoded: dict[int, Words] = field(default_factory=dict, repr=False)
    compared: list[bool] = field(default_factory=list)

    def start(self) -> None:
        """Forget the attempt before."""
        self.encoded.clear()

    def saw_encoded(self, node: int, vector: Words) -> None:
        """A node's vector before masking."""
        self.encoded[node] = vector

    def saw_opened(self, totals: Totals, accepted: tuple[int, ...]) -> None:
        """The opened sums: equal, lane for lane, to the integer sum over the accepted nodes?"""
        layout = totals.layout
        bits, body = layout.numbers.ring_bits, layout.body
        plain = np.zeros(body, np.int64)
        for node in accepted:
            plain += decode(layout.read(self.encoded[node], 0, body), bits)
        secure = np.zeros(body, np.int64)
        for bucket in totals.buckets:
            secure += decode(layout.read(bucket.words, 0, body), bits)
        self.compared.append(bool(np.array_equal(plain, secure)))

    @property
    def sum_matches_plain(self) -> bool | None:
        """Whether every release so far matched; None where there was none."""
        return all(self.compared) if self.compared else None
