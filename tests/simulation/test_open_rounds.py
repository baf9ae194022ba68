"""Rounds without masks that benchmarks play, and what dishonest nodes put into them."""

import numpy as np
import pytest
from benchmarks.learning.buckets import _to_the_edge
from benchmarks.learning.open_rounds import Filter, Released, open_round
from tests.playground import default_numbers

from crimson_enclave.totals import Totals
from crimson_node.encoding import encode_update
from crimson_node.member import Update
from crimson_protocol.errors import PeerFault
from crimson_protocol.fixed_point import decode
from crimson_protocol.layout import Layout
from crimson_simulation.attacks.encoding import encode_unclipped
from crimson_simulation.attacks.registry import UPDATE_ATTACKS

NODES, PARAMETERS, CLIP, CAP = 10, 30, 0.15, 64
ALL = [tuple(range(NODES))]
PAIRS = [(2 * place, 2 * place + 1) for place in range(NODES // 2)]
SINGLE = [(node,) for node in range(NODES)]
BAD = (8, 9)


def fill(view: memoryview) -> None:
    view[:] = np.random.default_rng(1).bytes(len(view))


def numbers():
    return default_numbers(
        NODES, parameters=PARAMETERS, counters=0, clip_micro=round(CLIP * 1e6), weight_cap=CAP, value_bits=16
    )


def updates(scale: float) -> dict[int, Update]:
    drawn = np.random.default_rng(2).normal(0.02, scale, (NODES, PARAMETERS)).astype(np.float32)
    return {node: Update("model", bytes(32), row, 5 * node) for node, row in enumerate(drawn)}


def values(given: dict[int, Update]) -> np.ndarray:
    return np.array([given[node].parameters for node in range(NODES)], np.float64)


def means(totals: Totals) -> np.ndarray:
    """Bucket means in the update's unit, of buckets that have weight."""
    weighted = [bucket for bucket in totals.buckets if totals.weight_of(bucket)]
    return np.array([totals.parameters_of(one) * (CLIP / totals.weight_of(one)) for one in weighted])


def change(totals: Totals, filtered: Filter) -> np.ndarray:
    """What a round makes of a model of zeros."""
    return Released.initial(PARAMETERS).after(totals, filtered).parameters


def attack(name: str, size: float) -> dict[int, Update]:
    """Updates of which the last two are poisoned."""
    given = updates(scale=size)
    rows = values(given)
    poisoned = UPDATE_ATTACKS[name](rows[:-2], rows[-2:], CLIP, np.random.default_rng(3))
    bad = {
        node: Update("model", bytes(32), row.astype(np.float32), 40)
        for node, row in zip(BAD, poisoned, strict=True)
    }
    return {**given, **bad}


def test_the_mean_is_the_weighted_mean_to_a_quantum_per_node() -> None:
    given = updates(scale=0.01)
    weights = np.array([given[node].weight for node in range(NODES)])
    expected = weights @ values(given) / weights.sum()
    for groups in (ALL, PAIRS, SINGLE):
        mean = change(open_round(numbers(), groups, given, fill), Filter())
        quantum = CLIP / 2**16 * CAP / weights.sum()
        assert np.abs(mean - expected).max() < NODES * quantum + 1e-5 * np.abs(expected).max()


def test_rounds_add_up() -> None:
    totals = open_round(numbers(), ALL, updates(scale=0.01), fill)
    once = Released.initial(PARAMETERS).after(totals, Filter())
    assert np.allclose(once.after(totals, Filter()).parameters, 2 * once.parameters, rtol=1e-6)


def test_honest_nodes_clip_and_dishonest_ones_do_not() -> None:
    given = updates(scale=1.0)
    honest = means(open_round(numbers(), SINGLE, given, fill))
    lying = means(open_round(numbers(), SINGLE, given, fill, dishonest=(3,)))
    # Node 0 has no weight and no mean, so node 3 comes third.
    assert np.linalg.norm(honest, axis=1).max() < CLIP * 1.01
    assert np.linalg.norm(lying[2]) > 5 * CLIP
    # A lane holds at most the clip times the weight cap, divided by the weight that the node claims.
    most = CLIP * CAP / given[3].weight
    assert np.allclose(lying[2], np.clip(given[3].parameters, -most, most), atol=1e-3)
    assert np.array_equal(np.delete(lying, 2, 0), np.delete(honest, 2, 0))


def test_a_dishonest_vector_is_that_of_an_honest_node_within_the_clip() -> None:
    layout, given = Layout(numbers()), updates(scale=0.005)
    for node in (0, 7):
        assert np.array_equal(
            encode_unclipped(given[node], layout, fill), encode_update(given[node], layout, fill)
        )


def test_no_dishonest_vector_loses_the_round_at_the_range_check() -> None:
    layout = Layout(numbers())
    huge = Update("model", bytes(32), np.full(PARAMETERS, -3e38, np.float32), CAP)
    vector = encode_unclipped(huge, layout, fill)
    assert set(decode(layout.read(vector, 0, PARAMETERS), 32).tolist()) == {-(2**16)}
    open_round(numbers(), PAIRS, {**updates(0.01), 4: huge, 5: huge}, fill, dishonest=(4, 5))


@pytest.mark.parametrize("name", ["edge", "flip-at-bound"])
@pytest.mark.parametrize("groups", [SINGLE, PAIRS], ids=["single", "pairs"])
def test_attacks_inside_the_bound_are_not_seen_by_it(name: str, groups: list[tuple[int, ...]]) -> None:
    totals = open_round(numbers(), groups, attack(name, 0.03), fill, BAD)
    assert np.allclose(change(totals, Filter("norm-bound")), change(totals, Filter()), atol=1e-4)


@pytest.mark.parametrize("name", ["sign-flip", "scaling", "noise"])
def test_attacks_beyond_the_bound_are_left_out_or_brought_back(name: str) -> None:
    totals = open_round(numbers(), SINGLE, attack(name, 0.15), fill, BAD)
    # By hand: nodes 1 to 7 have weights 5 to 35, the attackers 40 each.
    weights, rows = np.array([5, 10, 15, 20, 25, 30, 35, 40, 40]), means(totals)
    assert np.allclose(change(totals, Filter()), weights @ rows / 220, atol=1e-6)
    honest = weights[:7] @ rows[:7]
    assert np.allclose(change(totals, Filter("norm-bound")), honest / 140, atol=1e-4)
    back = rows[7:] * (CLIP / np.linalg.norm(rows[7:], axis=1, keepdims=True))
    projected = (honest + 40 * back.sum(axis=0)) / 220
    assert np.allclose(change(totals, Filter("norm-bound", project=True)), projected, atol=1e-4)


def test_a_rejected_bucket_need_not_be_tolerated_again() -> None:
    totals = open_round(numbers(), SINGLE, attack("sign-flip", 0.15), fill, BAD)
    # Nine values with weight: of seven left, three could be tolerated; five less the two rejected are.
    assert np.isfinite(change(totals, Filter("trimmed-mean", 5, mixing=True))).all()
    with pytest.raises(PeerFault):
        change(totals, Filter("trimmed-mean", 6, mixing=True))
    with pytest.raises(PeerFault):
        change(totals, Filter("trimmed-mean", 5, mixing=True, project=True))


def test_attackers_who_know_their_bucket_take_its_mean_to_the_edge() -> None:
    given = updates(scale=0.3)
    aim = (0.99 * CLIP / PARAMETERS**0.5 * np.ones(PARAMETERS)).astype(np.float32)
    given |= {node: Update("model", bytes(32), aim, given[node].weight) for node in (3, 8, 9)}
    sent = _to_the_edge(given, PAIRS, (3, 8, 9), CLIP)
    totals = open_round(numbers(), PAIRS, sent, fill, dishonest=(3, 8, 9))
    assert np.allclose(means(totals)[[1, 4]], aim, atol=1e-3)
    assert np.allclose(change(totals, Filter("norm-bound")), change(totals, Filter()), atol=1e-4)
    assert all(sent[node] is given[node] for node in (0, 1, 2, 4, 5, 6, 7))
