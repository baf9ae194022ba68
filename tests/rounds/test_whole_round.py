"""Whole rounds in memory: the secure sum is the plain sum, whoever drops."""

import numpy as np
from tests.playground import MODEL, default_numbers, lanes

from crimson_node.member import Update


def test_everybody_stays(play):
    federation = play(6)
    assert federation.round()
    assert not federation.refused
    _, accepted = federation.opened[-1]
    assert accepted == tuple(range(6))
    assert np.array_equal(lanes(federation), federation.plain_sum(accepted))


def test_nodes_drop_after_share_and_after_submit(play):
    federation = play(6)
    assert federation.round(after_share=[1], after_submit=[4])
    _, accepted = federation.opened[-1]
    assert accepted == (0, 2, 3, 4, 5)
    assert np.array_equal(lanes(federation), federation.plain_sum(accepted))


def test_twenty_ring_bits_and_three_slices(play):
    numbers = default_numbers(7, ring_bits=20, value_bits=12, slices=3, parameters=101)
    federation = play(7, numbers=numbers)
    assert federation.round(after_share=[0], after_submit=[3])
    _, accepted = federation.opened[-1]
    assert np.array_equal(lanes(federation), federation.plain_sum(accepted))


def test_on_grid_values_the_secure_sum_is_the_plain_integer_sum(play):
    """Whole quanta at full weight leave nothing to round: the opened lanes are the inputs' own integers."""
    numbers = default_numbers(6, parameters=64, weight_cap=1)
    federation = play(6, numbers=numbers)
    quanta = np.random.default_rng(7).integers(-4000, 4000, (6, 64))
    quantum = numbers.clip_micro / 1e6 / 2**numbers.value_bits
    digest = federation.update(0).model_digest
    updates = {
        node: Update(MODEL, digest, (quanta[node] * quantum).astype(np.float32), 1, (node, 10**20 + node))
        for node in range(6)
    }
    federation.prepare(updates)
    said = federation.open()
    for phase in range(6):
        federation.deliver(said)
        said = federation.close() if phase < 5 else said
    totals, _ = federation.opened[-1]
    summed = np.concatenate([block for _, _, block in totals.parameter_blocks()])
    assert np.array_equal(summed, quanta.sum(axis=0))
    assert totals.counters() == [15, 6 * 10**20 + 15]
    assert totals.weight == 6 << numbers.value_bits
