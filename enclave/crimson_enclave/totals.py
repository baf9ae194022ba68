"""Reading opened sums: count words, ranges, and the lanes as exact integers (steps 12.5 and 12.6)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from crimson_protocol.errors import PeerFault
from crimson_protocol.fixed_point import decode, from_limbs
from crimson_protocol.layout import Layout, Words
from crimson_protocol.refusal import Refusal
from crimson_protocol.trust import GroupTest

BLOCK = 1 << 16


@dataclass(frozen=True)
class BucketTotal:
    """One opened bucket: the nodes accepted in it, and its sum modulo 2^ring_bits.

    fault: why the sum cannot be used, where a robust rule can spare it; its lanes then read as zeros.
    """

    nodes: tuple[int, ...]
    words: Words = field(repr=False)
    fault: Refusal | None = None

    @property
    def accepted(self) -> int:
        """How many nodes the sum is over."""
        return len(self.nodes)

    @property
    def test(self) -> GroupTest:
        """What the sum says of its nodes."""
        return GroupTest(self.nodes, self.fault.value if self.fault else "", self.fault is not None)


@dataclass(frozen=True)
class Totals:
    """All opened buckets of a round, checked; lanes are read as integers, block by block."""

    layout: Layout
    buckets: Sequence[BucketTotal] = field(repr=False)

    @property
    def accepted(self) -> int:
        """How many nodes all sums are over."""
        return sum(bucket.accepted for bucket in self.buckets)

    @property
    def weight(self) -> int:
        """Sum of round(w_i / weight_cap * 2^value_bits) over accepted nodes."""
        return sum(map(self.weight_of, self.buckets))

    @property
    def normalisation(self) -> int:
        """Sum of round(w_i / weight_cap * |a_i|_1 / steps_cap * 2^value_bits), where the layout has such a lane."""
        lane = self.layout.numbers.parameters + 1
        return int(self._lanes(lane, lane + 1)[0])

    def weight_of(self, bucket: BucketTotal) -> int:
        """The weight lane of one bucket."""
        parameters = self.layout.numbers.parameters
        return int(self.lanes_of(bucket, parameters, parameters + 1)[0])

    def parameters_of(self, bucket: BucketTotal) -> NDArray[np.int64]:
        """The parameter lanes of one bucket, in quanta, shape (d,)."""
        return self.lanes_of(bucket, 0, self.layout.numbers.parameters)

    def lanes_of(self, bucket: BucketTotal, start: int, stop: int) -> NDArray[np.int64]:
        """Body lanes [start, stop) of one bucket."""
        if bucket.fault:
            return np.zeros(stop - start, np.int64)
        return decode(self.layout.read(bucket.words, start, stop), self.layout.numbers.ring_bits)

    def parameter_blocks(self) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        """Blocks (start, stop, summed quanta) over the parameters of all buckets."""
        for start in range(0, self.layout.numbers.parameters, BLOCK):
            stop = min(start + BLOCK, self.layout.numbers.parameters)
            yield start, stop, self._lanes(start, stop)

    def counters(self) -> list[int]:
        """Every counter's exact sum over the accepted nodes of sound buckets."""
        first, limbs = self.layout.first_counter, self.layout.limbs
        lanes = [int(lane) for lane in self._lanes(first, self.layout.body)]
        starts = range(0, len(lanes), limbs)
        return [from_limbs(lanes[at : at + limbs], self.layout.numbers.value_bits) for at in starts]

    def _lanes(self, start: int, stop: int) -> NDArray[np.int64]:
        total = np.zeros(stop - start, np.int64)
        for bucket in self.buckets:
            total += self.lanes_of(bucket, start, stop)
        return total


class BucketFault(PeerFault):
    """Sums that honest nodes do not make. flagged: who was in them. No node can be named alone: a wrong mask and a
    wrong vector look alike in a sum."""

    def __init__(self, code: Refusal, text: str, flagged: tuple[GroupTest, ...]) -> None:
        super().__init__(code, text)
        self.flagged = flagged


def refuse_faulty(buckets: Sequence[BucketTotal]) -> None:
    """BucketFault(COUNT_WORDS_DIFFER, OUT_OF_RANGE) where a bucket was marked, by the first of them."""
    faulty = [bucket for bucket in buckets if bucket.fault]
    if faulty and faulty[0].fault:
        text = f"{len(faulty)} of {len(buckets)} sums are not such as honest nodes make"
        raise BucketFault(faulty[0].fault, text, tuple(bucket.test for bucket in faulty))


def check_counts(layout: Layout, buckets: Sequence[BucketTotal]) -> list[BucketTotal]:
    """Step 12.5: the buckets, those whose masks did not cancel marked COUNT_WORDS_DIFFER."""
    return [_marked(bucket, Refusal.COUNT_WORDS_DIFFER, _counts(layout, bucket)) for bucket in buckets]


def check_ranges(layout: Layout, buckets: Sequence[BucketTotal], tail: int = 0) -> Totals:
    """Step 12.6: the sums, those with a lane that their nodes cannot make marked OUT_OF_RANGE. tail: quanta that noise
    may have added to a parameter."""
    return Totals(
        layout,
        [_marked(bucket, Refusal.OUT_OF_RANGE, _in_range(layout, bucket, tail)) for bucket in buckets],
    )


def _marked(bucket: BucketTotal, code: Refusal, holds: bool) -> BucketTotal:
    return bucket if holds or bucket.fault else replace(bucket, fault=code)


def _counts(layout: Layout, bucket: BucketTotal) -> bool:
    bits = layout.numbers.ring_bits
    low = (1 << bits) - 1
    expected = [(bucket.accepted >> (bits * place)) & low for place in range(layout.count_words)]
    return all([int(word) & low for word in words] == expected for words in layout.counts(bucket.words))


def _in_range(layout: Layout, bucket: BucketTotal, tail: int) -> bool:
    numbers = layout.numbers
    bound = bucket.accepted << numbers.value_bits
    for first, last, most in (
        (0, numbers.parameters, bound + tail),
        (numbers.parameters, layout.body, bound),
    ):
        for start in range(first, last, BLOCK):
            lanes = decode(layout.read(bucket.words, start, min(start + BLOCK, last)), numbers.ring_bits)
            if max(int(lanes.max()), -int(lanes.min())) > most:
                return False
    weight = decode(layout.read(bucket.words, numbers.parameters, numbers.parameters + 1), numbers.ring_bits)
    return weight[0] >= 0 and (not numbers.steps_cap or _possible_steps(layout, bucket, int(weight[0])))


def _possible_steps(layout: Layout, bucket: BucketTotal, weight: int) -> bool:
    """Every node takes 1 to steps_cap steps, so the normalisation lane lies between weight / steps_cap and weight;
    each node's two lanes are rounded."""
    lane = layout.numbers.parameters + 1
    steps = int(decode(layout.read(bucket.words, lane, lane + 1), layout.numbers.ring_bits)[0])
    least = weight / layout.numbers.steps_cap - bucket.accepted
    return bool(least <= steps <= weight + bucket.accepted)
