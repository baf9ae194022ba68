"""Numbers of one round: thresholds, quorum, sparse degrees (docs/PROTOCOL.md, "Graphs and numbers").

Everything is exact integer arithmetic, so that every party computes the same numbers. Shares of a
cohort are ratios of integers; a float never enters.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb

from crimson_protocol.errors import CallerFault, PolicyRefusal
from crimson_protocol.refusal import Refusal

Share = tuple[int, int]
"""A part of the cohort as (numerator, denominator); (1, 5) is a fifth."""

DENSE_LIMIT = 128
"""Up to so many nodes every node holds shares of every other: nothing random that could go wrong."""

SMALLEST_COHORT = 3
"""With two nodes each would learn the other's update from the sum and its own."""

# A broken enclave can grind graph seeds, so privacy gets 64 bits; a lost round is only repeated.
PRIVACY_BITS = 64
LIVENESS_BITS = 20
SPARE_SHARES = 2
"""Shares beyond the threshold that should still arrive, so that a bad share does not end the round."""

HONEST_FLOOR = 3
"""Accepted nodes beyond the corrupt ones that a sum must contain before it may be opened."""


@dataclass(frozen=True)
class SparseNumbers:
    """Degrees above DENSE_LIMIT. `holders` and `neighbours` count other nodes, never the node itself."""

    holders: int
    threshold: int
    neighbours: int
    live_degree: int


@dataclass(frozen=True)
class Numbers:
    """All numbers of a round that every party must agree on.

    corrupt: nodes assumed to collude. threshold: shares that rebuild a secret. quorum: confirmations
    that open a verdict. holders: dense, all n nodes including the owner; sparse, other nodes only (the
    owner keeps its own share besides). neighbours: mask edges per node. live_degree: accepted neighbours
    an accepted node needs; 0 when dense, see `numbers`.
    """

    corrupt: int
    threshold: int
    quorum: int
    holders: int
    neighbours: int
    live_degree: int
    dense: bool


def _part(n: int, share: Share) -> int:
    """floor(share * n), for a share in [0, 1)."""
    numerator, denominator = share
    if denominator <= 0 or not 0 <= numerator < denominator:
        raise PolicyRefusal(Refusal.UNSOUND_POLICY, "a share of the cohort must be at least 0 and below 1")
    if n < 0:
        raise CallerFault(Refusal.OUT_OF_RANGE, "a cohort cannot have a negative size")
    return n * numerator // denominator


def corrupt_count(n: int, corrupt: Share) -> int:
    """Nodes out of n assumed to be corrupt: floor(corrupt * n), at least 1 unless the share is 0."""
    count = _part(n, corrupt)
    return count if corrupt[0] == 0 else max(1, count)


def dense_threshold(n: int, corrupt_nodes: int) -> int:
    """t = floor((n + c) / 2) + 1: two sets of t nodes share more than c, hence an honest node."""
    return (n + corrupt_nodes) // 2 + 1


def quorum(active: int, corrupt: Share) -> int:
    """Confirmations that open a verdict, from all active nodes of the roster policy, present or not.

    Counting the absent too is what stops two attempts of one round from both reaching a quorum.
    """
    return dense_threshold(active, corrupt_count(active, corrupt))


def drops_tolerated(n: int, threshold: int) -> int:
    """Nodes that may vanish from a dense round of n before secrets cannot be rebuilt."""
    return n - threshold


class _Tail:
    """Exact P[X > bound] for X ~ Hypergeometric(population, marked, draws), as counts of draw sets.

    A search over degrees only ever adds a draw or raises the bound, and each is one step from the state
    before: no sum over a tail is ever done again.
    """

    def __init__(self, population: int, marked: int) -> None:
        self.population = population
        self.marked = marked
        self.draws = 0
        self.bound = 0
        self._all = 1  # draw sets
        self._at = 1  # those with exactly `bound` marked members
        self._over = 0  # those with more

    def draw(self) -> None:
        """Add a draw: P'[X > b] = P[X > b] + P[X = b] (marked - b) / (population - draws)."""
        left, drawn, marked_left = self.population - self.draws, self.draws + 1, self.marked - self.bound
        self._over = (self._over * left + self._at * marked_left) // drawn
        self._at = self._at * (left - marked_left) // (drawn - self.bound)
        self._all = self._all * left // drawn
        self.draws = drawn

    def raise_bound(self) -> None:
        """Move one value out of the tail. Never called with the bound at `draws`: that tail is empty."""
        self.bound += 1
        self._at = comb(self.marked, self.bound) * comb(
            self.population - self.marked, self.draws - self.bound
        )
        self._over -= self._at

    def below(self, bits: int, times: int) -> bool:
        """Whether times * P[X > bound] <= 2^-bits: a union bound over that many nodes."""
        return (self._over * times) << bits <= self._all


def _smallest_degree(n: int, corrupt: int, dropped: int, reserve: int, step: int) -> tuple[int, int]:
    """Smallest degree d, a multiple of `step`, with its c_d, that is private and live for all n nodes.

    c_d: least x with n * P[corrupt among d others > x] <= 2^-64. Live: c_d + reserve of the d others
    remain except with n * P <= 2^-20. c_d grows by at most 1 per draw, so both bounds only rise.
    """
    bad = _Tail(n - 1, corrupt)
    gone = _Tail(n - 1, dropped)
    # With both at their means already too many, no degree leaves the reserve: spare the search.
    for degree in range(1, n if corrupt + dropped < n - 1 else 1):
        bad.draw()
        gone.draw()
        while not bad.below(PRIVACY_BITS, n):
            bad.raise_bound()
        may_go = degree - bad.bound - reserve
        while gone.bound < may_go:
            gone.raise_bound()
        if may_go >= 0 and degree % step == 0 and gone.below(LIVENESS_BITS, n):
            return degree, bad.bound
    raise PolicyRefusal(
        Refusal.UNSOUND_POLICY, f"no sparse graph of {n} nodes is both private and live at these shares"
    )


@lru_cache(maxsize=256)
def sparse_numbers(n: int, corrupt: Share, dropout: Share, step: int = 1) -> SparseNumbers:
    """Least degrees for n > DENSE_LIMIT nodes: holders h with threshold t = c_h + 1, neighbours k with
    live degree m = c_k + 2 (one honest accepted neighbour would leave a node hanging on a single edge).

    `step` 2 searches even degrees only, which is all that a union of cycles can have.
    Raises PolicyRefusal UNSOUND_POLICY where no degree below n serves.
    """
    if n <= DENSE_LIMIT:
        raise CallerFault(Refusal.OUT_OF_RANGE, f"a cohort of {n} is dense")
    if step < 1:
        raise CallerFault(Refusal.OUT_OF_RANGE, "degrees are searched in steps of at least 1")
    bad, gone = corrupt_count(n, corrupt), _part(n, dropout)
    holders, corrupt_holders = _smallest_degree(n, bad, gone, 1 + SPARE_SHARES, step)
    neighbours, corrupt_neighbours = _smallest_degree(n, bad, gone, 2, step)
    return SparseNumbers(holders, corrupt_holders + 1, neighbours, corrupt_neighbours + 2)


@lru_cache(maxsize=256)
def numbers(n: int, active: int, corrupt: Share, dropout: Share) -> Numbers:
    """The numbers of a round of n nodes out of `active` in the roster policy.

    Dense rounds need no live degree: the mask graph is complete inside a bucket, so any two accepted
    honest nodes of it share an edge, and `bucket_floor` already guarantees that there are some. Sparse
    rounds take even degrees (graph.py), so h and k may be one or a few above `sparse_numbers`, and count
    all corrupt nodes of the roster as present: a broken enclave chooses who is, and seeds can be ground.
    Raises PolicyRefusal: COHORT_TOO_SMALL below max(3, c + 3), UNSOUND_POLICY where no sparse degree serves.
    """
    if n > active:
        raise CallerFault(Refusal.OUT_OF_RANGE, "a round cannot have more nodes than the roster policy")
    bad = corrupt_count(n, corrupt)
    if n < max(SMALLEST_COHORT, bad + HONEST_FLOOR):
        raise PolicyRefusal(Refusal.COHORT_TOO_SMALL, f"{n} nodes of which {bad} may be corrupt")
    confirmations = quorum(active, corrupt)
    if n <= DENSE_LIMIT:
        return Numbers(bad, dense_threshold(n, bad), confirmations, n, n - 1, 0, True)
    sparse = sparse_numbers(n, (corrupt_count(active, corrupt), n), dropout, step=2)
    if max(sparse.holders, sparse.neighbours) > densest_degree(n):
        raise PolicyRefusal(Refusal.UNSOUND_POLICY, f"{n} nodes would need a nearly complete graph")
    return Numbers(
        bad, sparse.threshold, confirmations, sparse.holders, sparse.neighbours, sparse.live_degree, False
    )


def densest_degree(n: int) -> int:
    """Largest degree a sparse graph may have: beyond it, disjoint random cycles are hard to find."""
    return 3 * n // 4


def bucket_floor(size: int, corrupt: Share) -> int:
    """Accepted nodes that a bucket of `size` needs before its sum may be opened: c_b + 3."""
    return corrupt_count(size, corrupt) + HONEST_FLOOR


def probability_bucket_too_corrupt(active: int, corrupt: Share, size: int) -> Fraction:
    """Exact P[more than c_b corrupt in a random bucket of `size` out of `active` nodes], c_b of its size."""
    if not 1 <= size <= active:
        raise CallerFault(Refusal.OUT_OF_RANGE, f"a bucket of {size} out of {active} nodes")
    bad, allowed = corrupt_count(active, corrupt), corrupt_count(size, corrupt)
    over = range(allowed + 1, min(size, bad) + 1)
    return Fraction(sum(comb(bad, x) * comb(active - bad, size - x) for x in over), comb(active, size))
