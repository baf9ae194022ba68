"""Whole rounds in memory: the secure sum is the plain sum, whoever drops."""

import numpy as np

from tests.playground import default_numbers


def lanes(play) -> np.ndarray:
    """The opened sum over all buckets, as signed integers."""
    totals, _ = play.opened[-1]
    parts = [totals.layout.read(bucket.words, 0, totals.layout.body) for bucket in totals.buckets]
    bits = totals.layout.numbers.ring_bits
    signed = [((part.astype(np.int64) + (1 << (bits - 1))) % (1 << bits)) - (1 << (bits - 1)) for part in parts]
    return np.sum(signed, axis=0)


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
