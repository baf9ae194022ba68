"""The witness: sees what no party of a real federation can, and compares the secure sum with the plain one.

Agents and the enclave take it as a constructor argument; no flag, variable or file reaches it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.totals import Totals
from crimson_protocol.fixed_point import decode
from crimson_protocol.layout import Layout, Words


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
        plain = plain_sum(totals.layout, {node: self.encoded[node] for node in accepted})
        self.compared.append(bool(np.array_equal(plain, secure_sum(totals))))

    @property
    def sum_matches_plain(self) -> bool | None:
        """Whether every release so far matched; None where there was none."""
        return all(self.compared) if self.compared else None


def plain_sum(layout: Layout, encoded: Mapping[int, Words]) -> NDArray[np.int64]:
    """Integer sum of encoded vectors over the body's lanes, int64 (body,)."""
    total = np.zeros(layout.body, np.int64)
    for vector in encoded.values():
        total += decode(layout.read(vector, 0, layout.body), layout.numbers.ring_bits)
    return total


def secure_sum(totals: Totals) -> NDArray[np.int64]:
    """The opened sum over all buckets, int64 (body,)."""
    layout = totals.layout
    total = np.zeros(layout.body, np.int64)
    for bucket in totals.buckets:
        total += decode(layout.read(bucket.words, 0, layout.body), layout.numbers.ring_bits)
    return total
