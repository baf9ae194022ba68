"""Lanes of the vector: parameters, weight, exact counters as limbs, and count words around every slice.

    slice s:  [count words][its part of: parameters | weight | normalisation | limbs of the counters][count words]

The normalisation lane is there only where a policy caps claimed steps (FedNova).

Count words hold the 64-bit integer 1, so their sums show, per slice and bucket, that the masks of all
accepted nodes cancelled. They prove nothing about a malicious node (docs/PROTOCOL.md, "Vector").
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crimson_protocol.wire.messages.advertise import RoundNumbers
from crimson_protocol.wire.packing import packed_length

COUNTER_BITS = 96
COUNT_BITS = 64

Words = NDArray[np.uint32]


@dataclass(frozen=True)
class Slice:
    """One slice's place in the vector, in ring words, its count words included."""

    index: int
    start: int
    length: int


@dataclass(frozen=True)
class Layout:
    """Where each lane of a round's vector lies. All lengths are in ring words."""

    numbers: RoundNumbers

    @property
    def limbs(self) -> int:
        """Lanes per counter: its 96-bit two's complement in limbs of `value_bits`."""
        return -(-COUNTER_BITS // self.numbers.value_bits)

    @property
    def count_words(self) -> int:
        """Ring words that hold one 64-bit count."""
        return -(-COUNT_BITS // self.numbers.ring_bits)

    @property
    def body(self) -> int:
        """Lanes without count words: parameters, weight, normalisation, limbs."""
        return self.first_counter + self.numbers.counters * self.limbs

    @property
    def first_counter(self) -> int:
        """Lane of the first counter's lowest limb."""
        return self.numbers.parameters + 1 + (1 if self.numbers.steps_cap else 0)

    @property
    def length(self) -> int:
        """The whole vector."""
        return self.body + 2 * self.count_words * self.numbers.slices

    @property
    def packed(self) -> int:
        """Bytes of the vector on the wire."""
        return packed_length(self.length, self.numbers.ring_bits)

    def slices(self) -> tuple[Slice, ...]:
        """The slices in order; their parts of the body differ by at most one lane."""
        edges = self._edges()
        extra = 2 * self.count_words
        return tuple(
            Slice(index, start + extra * index, stop - start + extra)
            for index, (start, stop) in enumerate(pairwise(edges))
        )

    def views(self, vector: Words, start: int, stop: int) -> Iterator[tuple[int, int, Words]]:
        """Body lanes [start, stop) as (first, last + 1, view into `vector`), one per slice touched."""
        edges = self._edges()
        for index, (low, high) in enumerate(pairwise(edges)):
            first, last = max(low, start), min(high, stop)
            if first < last:
                offset = self.count_words * (2 * index + 1)
                yield first, last, vector[first + offset : last + offset]

    def read(self, vector: Words, start: int, stop: int) -> Words:
        """Body lanes [start, stop); without a copy where one slice holds them all."""
        parts = [view for _, _, view in self.views(vector, start, stop)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, np.uint32)

    def write(self, vector: Words, start: int, values: Words) -> None:
        """Set the body lanes from `start` on."""
        for first, last, view in self.views(vector, start, start + values.size):
            view[:] = values[first - start : last - start]

    def counts(self, vector: Words) -> Iterator[Words]:
        """The count words of every slice, at its start and at its end, as views."""
        for part in self.slices():
            stop = part.start + part.length
            yield vector[part.start : part.start + self.count_words]
            yield vector[stop - self.count_words : stop]

    def _edges(self) -> list[int]:
        slices = self.numbers.slices
        return [self.body * index // slices for index in range(slices + 1)]
