"""Who masks with whom and who holds whose shares, from one 32-byte seed (docs/PROTOCOL.md, "Graphs and numbers").

Every node recomputes the graph for itself, so the construction is fixed to the byte: SHA-256 in counter
mode gives 32-bit big-endian words; a number below a bound is a word cut to the bound's bit length, thrown
away if it is still too large; a permutation is Fisher-Yates over such numbers. No step has a modulo bias.

A sparse graph is a union of *disjoint* random Hamiltonian cycles. Independent cycles would share edges
(one in seven at degree 300 of 1000), and a node left below its degree no longer has the liveness that
its numbers promise. Cycles are untangled by position, never by label, so the others that a node meets
stay a uniform random set, as the hypergeometric tails of cohort.py assume.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from struct import pack, unpack

from crimson_protocol.cohort import DENSE_LIMIT, Numbers, densest_degree
from crimson_protocol.crypto.labels import GRAPH_STREAM
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

SEED_BYTES = 32
# Tries for one edge before its cycle is drawn anew, and draws of one cycle before the seed is given up.
_EDGE_TRIES = 1024
_CYCLE_DRAWS = 256


@dataclass(frozen=True)
class Graph:
    """The graph of one attempt, over roster indices. Both relations are symmetric.

    members: ascending. buckets: a partition of members, each ascending. neighbours: i's mask edges, all
    inside i's bucket. holders: who holds shares of i's secrets; it contains i, whose share stays at home.
    """

    members: tuple[int, ...]
    buckets: tuple[tuple[int, ...], ...]
    neighbours: Mapping[int, frozenset[int]] = field(repr=False)
    holders: Mapping[int, frozenset[int]] = field(repr=False)


class _Stream:
    """Uniform numbers from blocks SHA-256(label, purpose, seed, a, b, counter)."""

    def __init__(self, seed: bytes, purpose: bytes, a: int = 0, b: int = 0) -> None:
        if len(seed) != SEED_BYTES:
            raise CallerFault(Refusal.WRONG_LENGTH, "a graph seed has 32 bytes")
        # The purpose is the only part of variable length, so its length goes before it.
        head = GRAPH_STREAM.encode() + pack(">B", len(purpose)) + purpose + seed + pack(">II", a, b)
        self._next = self._words(head).__next__

    @staticmethod
    def _words(head: bytes) -> Iterator[int]:
        for counter in count():
            yield from unpack(">8I", sha256(head + pack(">Q", counter)).digest())

    def below(self, bound: int) -> int:
        """A uniform number in [0, bound), by rejection; bound at most 2^32."""
        mask = (1 << (bound - 1).bit_length()) - 1
        while (number := self._next() & mask) >= bound:
            pass
        return number

    def permutation(self, n: int) -> list[int]:
        """A uniform order of 0 .. n-1, by Fisher-Yates from the top."""
        order = list(range(n))
        for last in range(n - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order


def permutation(seed: bytes, n: int) -> tuple[int, ...]:
    """A uniform order of 0 .. n-1 from a 32-byte seed; the same on every machine, without bias."""
    return tuple(_Stream(seed, b"permutation").permutation(n))


def buckets(seed: bytes, members: Sequence[int], size: int | None) -> tuple[tuple[int, ...], ...]:
    """Random buckets of `size` roster indices, a remainder joining the last; None gives one bucket.

    The order of `members` does not matter. Fewer members than `size` make one bucket.
    """
    ordered = _distinct(members)
    if size is None:
        return (ordered,)
    if size < 1:
        raise CallerFault(Refusal.OUT_OF_RANGE, "a bucket holds at least one node")
    shuffled = [ordered[place] for place in _Stream(seed, b"buckets").permutation(len(ordered))]
    starts = range(0, max(1, len(ordered) // size) * size, size)
    ends = [*starts[1:], len(ordered)]
    return tuple(tuple(sorted(shuffled[start:end])) for start, end in zip(starts, ends, strict=True))


def build_graph(
    seed: bytes,
    members: Sequence[int],
    buckets: Sequence[Sequence[int]],
    numbers: Numbers,
    bucket_numbers: Mapping[int, Numbers] | None = None,
) -> Graph:
    """The graph of one attempt among `members`, who are partitioned by `buckets`.

    Shares are held across the whole cohort and follow `numbers`. Mask edges stay inside a bucket:
    complete up to DENSE_LIMIT nodes; a larger bucket is sparse with the degree of `bucket_numbers[size]`
    (or of `numbers`, where the bucket is the cohort), and its nodes follow that entry's live degree.
    Raises CallerFault where the parts do not fit together.
    """
    ordered = _distinct(members)
    parts = tuple(_distinct(bucket) for bucket in buckets)
    if sorted(index for part in parts for index in part) != list(ordered):
        raise CallerFault(Refusal.SETS_DO_NOT_PARTITION, "buckets must partition the members")
    if numbers.dense != (len(ordered) <= DENSE_LIMIT):
        raise CallerFault(Refusal.NUMBERS_DIFFER, "the numbers are for a cohort of another size")
    sized = {len(ordered): numbers, **(bucket_numbers or {})}
    neighbours: dict[int, frozenset[int]] = {}
    for place, part in enumerate(parts):
        if len(part) <= DENSE_LIMIT:
            neighbours |= {index: frozenset(part) - {index} for index in part}
        elif len(part) in sized:
            neighbours |= _regular(seed, b"mask", place, part, sized[len(part)].neighbours)
        else:
            raise CallerFault(Refusal.NUMBERS_DIFFER, f"no numbers for a bucket of {len(part)}")
    if numbers.dense:
        return Graph(ordered, parts, neighbours, dict.fromkeys(ordered, frozenset(ordered)))
    others = _regular(seed, b"shares", 0, ordered, numbers.holders)
    return Graph(ordered, parts, neighbours, {index: others[index] | {index} for index in ordered})


def sealer(i: int, j: int) -> int:
    """The end of a mask edge that draws and seals the pair secret: the lower index if i + j is odd, else
    the higher. A fixed "always the lower" would make low indices upload all boxes and high ones none."""
    if i == j:
        raise CallerFault(Refusal.OUT_OF_RANGE, "a node has no mask edge to itself")
    return min(i, j) if (i + j) % 2 else max(i, j)


def _distinct(members: Sequence[int]) -> tuple[int, ...]:
    ordered = tuple(sorted(members))
    if not ordered or len(set(ordered)) != len(ordered) or ordered[0] < 0:
        raise CallerFault(Refusal.MALFORMED, "roster indices must be distinct, not negative and at least one")
    return ordered


def _regular(
    seed: bytes, purpose: bytes, place: int, nodes: Sequence[int], degree: int
) -> dict[int, frozenset[int]]:
    """Neighbours in a union of degree / 2 disjoint random cycles: every node has exactly `degree`.

    An odd degree is refused, not rounded: its threshold would not be private at one holder more.
    """
    if degree % 2 or not 2 <= degree <= densest_degree(len(nodes)):
        raise CallerFault(Refusal.DEGREE_TOO_SMALL, f"no union of cycles has degree {degree} here")
    met: list[set[int]] = [set() for _ in nodes]
    for cycle in range(degree // 2):
        order = _fresh_cycle(_Stream(seed, purpose, place, cycle), met)
        for here, there in zip(order, order[1:] + order[:1], strict=True):
            met[here].add(there)
            met[there].add(here)
    return {index: frozenset(nodes[other] for other in met[at]) for at, index in enumerate(nodes)}


def _fresh_cycle(stream: _Stream, met: list[set[int]]) -> list[int]:
    """A random cycle through all nodes without an edge that is already in `met`."""
    for _ in range(_CYCLE_DRAWS):
        order = stream.permutation(len(met))
        if all(_untangle(order, at, stream, met) for at in range(len(order))):
            return order
    raise CallerFault(Refusal.DEGREE_TOO_SMALL, "no further disjoint cycle was found")


def _untangle(order: list[int], at: int, stream: _Stream, met: list[set[int]]) -> bool:
    """Make the edge that leaves position `at` a new one; edges left at earlier positions stay new.

    Reversing a stretch replaces just the two edges at its ends, so it is repeated with random other ends
    until both replacements are new.
    """
    n = len(order)
    if order[(at + 1) % n] not in met[order[at]]:
        return True
    for _ in range(_EDGE_TRIES):
        first, last = sorted((at, stream.below(n)))
        before, start, end, after = order[first], order[(first + 1) % n], order[last], order[(last + 1) % n]
        if last - first in (0, 1, n - 1) or end in met[before] or after in met[start]:
            continue
        order[first + 1 : last + 1] = order[last:first:-1]
        return True
    return False
