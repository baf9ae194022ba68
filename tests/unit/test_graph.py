"""Permutations, buckets and sparse graphs: the fixed construction, uniform, regular, symmetric."""

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from itertools import count

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from crimson_protocol.cohort import Numbers, densest_degree, numbers
from crimson_protocol.errors import CallerFault
from crimson_protocol.graph import Graph, buckets, build_graph, permutation, sealer
from crimson_protocol.refusal import Refusal

SEED = bytes(range(32))
PINNED = "5d820f00d75e36bd72686869e697860cbb512fcd11b2fcffcd58a3d3318f0730"


def seed_of(number: int) -> bytes:
    return sha256(number.to_bytes(4, "big")).digest()


def sparse(n: int, holders: int, neighbours: int) -> Numbers:
    return Numbers(n // 10, 5, n // 2 + 1, holders, neighbours, 4, False)


def test_permutation_follows_its_description() -> None:
    def words() -> Iterator[int]:
        for counter in count():
            head = b"crimson/1/graph-stream" + b"\x0bpermutation" + SEED + bytes(8)
            block = sha256(head + counter.to_bytes(8, "big")).digest()
            for start in range(0, 32, 4):
                yield int.from_bytes(block[start : start + 4], "big")

    stream, order = words(), list(range(50))
    for last in range(49, 0, -1):
        cut = 2 ** (last).bit_length()
        other = next(word % cut for word in stream if word % cut <= last)
        order[last], order[other] = order[other], order[last]
    assert permutation(SEED, 50) == tuple(order)


def test_permutation_is_a_deterministic_order() -> None:
    assert permutation(SEED, 0) == ()
    assert permutation(SEED, 1) == (0,)
    assert permutation(SEED, 1000) == permutation(SEED, 1000) != permutation(seed_of(1), 1000)
    assert sorted(permutation(SEED, 1000)) == list(range(1000))


def test_permutations_are_uniform() -> None:
    seen = Counter(permutation(seed_of(number), 4) for number in range(6000))
    assert len(seen) == 24
    assert chisquare(list(seen.values())).pvalue > 1e-3
    # A bound that is no power of two is where a modulo would show.
    first = Counter(permutation(seed_of(number), 11)[0] for number in range(6000))
    assert chisquare([first[value] for value in range(11)]).pvalue > 1e-3


@given(st.sets(st.integers(0, 500), min_size=1, max_size=60), st.integers(1, 70))
def test_buckets_partition_the_members(members: set[int], size: int) -> None:
    parts = buckets(SEED, list(members), size)
    assert sorted(index for part in parts for index in part) == sorted(members)
    assert all(list(part) == sorted(part) for part in parts)
    assert len(parts) == max(1, len(members) // size)
    assert all(len(part) == size for part in parts[:-1])
    assert len(parts[-1]) < 2 * size
    assert parts == buckets(SEED, sorted(members, reverse=True), size)


def test_remainder_joins_the_last_bucket() -> None:
    assert [len(part) for part in buckets(SEED, range(23), 5)] == [5, 5, 5, 8]
    assert [len(part) for part in buckets(SEED, range(3), 1)] == [1, 1, 1]
    assert buckets(SEED, [7, 3, 5], None) == ((3, 5, 7),)


def test_bucket_places_are_uniform() -> None:
    first = Counter(index for number in range(3000) for index in buckets(seed_of(number), range(9), 3)[0])
    assert chisquare([first[index] for index in range(9)]).pvalue > 1e-3


def check_relations(graph: Graph) -> None:
    for index in graph.members:
        assert index not in graph.neighbours[index]
        assert index in graph.holders[index]
        assert all(index in graph.neighbours[other] for other in graph.neighbours[index])
        assert all(index in graph.holders[other] for other in graph.holders[index])
    bucket_of = {index: place for place, part in enumerate(graph.buckets) for index in part}
    assert all(bucket_of[i] == bucket_of[j] for i in graph.members for j in graph.neighbours[i])
    assert set(graph.neighbours) == set(graph.holders) == set(graph.members)


def test_dense_graph_is_complete_inside_buckets_and_shares_everywhere() -> None:
    members = [2, 3, 5, 7, 11, 13, 17]
    parts = buckets(SEED, members, 3)
    graph = build_graph(SEED, members, parts, numbers(7, 9, (1, 5), (1, 10)))
    check_relations(graph)
    assert graph.buckets == parts
    for part in parts:
        assert all(graph.neighbours[index] == set(part) - {index} for index in part)
    assert all(graph.holders[index] == set(members) for index in members)


@pytest.mark.parametrize("n", [129, 200])
def test_sparse_graph_is_exactly_regular(n: int) -> None:
    members = range(10, 10 + n)
    found = numbers(n, n, (1, 5), (3, 10))
    graph = build_graph(SEED, members, [members], found)
    check_relations(graph)
    assert {len(others) for others in graph.neighbours.values()} == {found.neighbours}
    assert {len(others) for others in graph.holders.values()} == {found.holders + 1}
    assert graph == build_graph(SEED, list(reversed(members)), [members], found)
    again = build_graph(seed_of(1), members, [members], found)
    assert again.neighbours != graph.neighbours


def test_masks_shares_buckets_and_cycles_are_drawn_apart() -> None:
    parts = [range(150), range(150, 300)]
    graph = build_graph(SEED, range(300), parts, sparse(300, 20, 20), {150: sparse(150, 20, 20)})
    moved = {index: {other - 150 for other in graph.neighbours[index + 150]} for index in range(150)}
    assert any(moved[index] != graph.neighbours[index] for index in range(150))
    whole = build_graph(SEED, range(300), [range(300)], sparse(300, 20, 20))
    assert any(whole.neighbours[index] != whole.holders[index] - {index} for index in range(300))


def test_sparse_graph_is_pinned() -> None:
    """Both ends of a round must draw the same graph, also across versions of this code."""
    graph = build_graph(SEED, range(150), [range(150)], sparse(150, 8, 6))
    drawn = [(sorted(graph.neighbours[index]), sorted(graph.holders[index])) for index in range(150)]
    assert sha256(repr(drawn).encode()).hexdigest() == PINNED


def test_every_allowed_degree_is_reached() -> None:
    n = 129
    densest = densest_degree(n) // 2 * 2
    for number in range(3):
        graph = build_graph(seed_of(number), range(n), [range(n)], sparse(n, densest, densest))
        assert {len(others) for others in graph.neighbours.values()} == {densest}


def test_one_cycle_is_hamiltonian() -> None:
    graph = build_graph(SEED, range(150), [range(150)], sparse(150, 2, 2))
    drawn = networkx.Graph([(i, j) for i, others in graph.neighbours.items() for j in others])
    assert networkx.is_connected(drawn)
    assert {degree for _, degree in drawn.degree} == {2}


def test_neighbours_are_uniform_and_spread() -> None:
    n, degree, met = 130, 20, Counter[int]()
    for number in range(60):
        graph = build_graph(seed_of(number), range(n), [range(n)], sparse(n, degree, degree))
        met.update(graph.neighbours[0])
        met.update(other - 64 if other > 64 else other + 65 for other in graph.neighbours[129])
    assert chisquare([met[index] for index in range(1, n - 1)]).pvalue > 1e-3
    drawn = networkx.Graph([(i, j) for i, others in graph.neighbours.items() for j in others])
    # The second eigenvalue of a random regular graph is about 2 sqrt(degree - 1): no bottleneck.
    spectrum = sorted(abs(value) for value in networkx.adjacency_spectrum(drawn))
    assert spectrum[-1] == pytest.approx(degree)
    assert spectrum[-2] < 1.1 * 2 * (degree - 1) ** 0.5


def test_large_buckets_are_sparse_by_their_own_numbers() -> None:
    members = range(450)
    parts = buckets(SEED, members, 150)
    whole, inner = numbers(450, 450, (1, 10), (1, 10)), numbers(150, 450, (1, 10), (1, 10))
    graph = build_graph(SEED, members, parts, whole, {150: inner})
    check_relations(graph)
    assert {len(others) for others in graph.neighbours.values()} == {inner.neighbours}
    assert {len(others) for others in graph.holders.values()} == {whole.holders + 1}
    with pytest.raises(CallerFault) as refused:
        build_graph(SEED, members, parts, whole)
    assert refused.value.code is Refusal.NUMBERS_DIFFER


def test_small_buckets_of_a_large_cohort_are_complete() -> None:
    parts = buckets(SEED, range(200), 20)
    graph = build_graph(SEED, range(200), parts, numbers(200, 200, (1, 10), (1, 10)))
    check_relations(graph)
    assert {len(others) for others in graph.neighbours.values()} == {19}


@given(st.integers(2, 40))
def test_sealing_is_shared_out_evenly(n: int) -> None:
    sealed = Counter(sealer(i, j) for i in range(n) for j in range(i))
    assert all(abs(2 * sealed[index] - (n - 1)) <= 2 for index in range(n))
    assert all(sealer(i, j) == sealer(j, i) for i in range(n) for j in range(i))


def test_sealer_takes_the_lower_end_of_odd_sums() -> None:
    assert (sealer(1, 2), sealer(1, 3), sealer(5, 0)) == (1, 3, 0)


def test_callers_mistakes() -> None:
    dense = numbers(6, 6, (1, 10), (1, 10))
    for members, parts in (
        ([1, 1, 2, 3, 4, 5], [[1, 2, 3, 4, 5]]),
        (range(6), [[0, 1, 2], [3, 4]]),
        (range(6), [[0, 1, 2, 3], [3, 4, 5]]),
        ([], []),
        ([-1, 0, 1], [[-1, 0, 1]]),
    ):
        with pytest.raises(CallerFault):
            build_graph(SEED, members, parts, dense)
    with pytest.raises(CallerFault):
        build_graph(SEED, range(200), [range(200)], dense)
    for degree in (0, 7, 152):
        with pytest.raises(CallerFault):
            build_graph(SEED, range(200), [range(200)], sparse(200, 10, degree))
    for call in (lambda: permutation(bytes(31), 5), lambda: buckets(SEED, [1], 0), lambda: sealer(4, 4)):
        with pytest.raises(CallerFault):
            call()
