"""How far one node moves what noise is added to: the table of rules that may stand before central noise.

Zero-out adjacency: one node's contribution, of norm at most C, is replaced by zero. Every row is tried on contributions
that hypothesis makes up, and by a search that must come within 5 % of the bound: so the bound is neither too
small nor idle.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crimson_enclave.robust import combine
from crimson_enclave.robust.bounds import exceeding, project
from crimson_enclave.robust.kept_sum import kept

CLIP, QUANTA, SIZE = 1.0, 1 << 20, 2
UNIT = CLIP / QUANTA
Release = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Row:
    """One row of the table: contributions (n, d) of n nodes in buckets of SIZE to what is released, and its bound."""

    release: Release
    bound: float
    nodes: int
    bounded: bool = True


def buckets(contributions: np.ndarray) -> np.ndarray:
    return contributions.reshape(-1, SIZE, contributions.shape[1]).sum(axis=1)


def mean(contributions: np.ndarray) -> np.ndarray:
    return combine(contributions, "none", 0, False, None, 0.0)


def clipped_buckets(contributions: np.ndarray) -> np.ndarray:
    return combine(project(buckets(contributions) / SIZE, CLIP), "norm-bound", 0, False, None, 0.0)


def trimmed(count: int, trim: int) -> Release:
    def release(contributions: np.ndarray) -> np.ndarray:
        quanta = np.trunc(contributions / UNIT).astype(np.int64)
        sums, number = kept(buckets(quanta), trim)
        assert number == count - 2 * trim
        return sums * (UNIT / (SIZE * number))

    return release


def accepted_over(divisor: int) -> Release:
    def release(contributions: np.ndarray) -> np.ndarray:
        return contributions[~exceeding(contributions, CLIP)].sum(axis=0) / divisor

    return release


TABLE = {
    "mean over n": Row(mean, CLIP / 10, 10),
    "clipped bucket mean, then mean": Row(clipped_buckets, CLIP / 10, 10),
    "trimmed mean over 7 buckets, 2 a side": Row(trimmed(7, 2), CLIP / (SIZE * (7 - 4)), 14),
    "median over 5 buckets": Row(trimmed(5, 2), CLIP / SIZE, 10),
    "median over 6 buckets": Row(trimmed(6, 2), CLIP / (SIZE * 2), 12),
    "accepted by a public test, over m": Row(accepted_over(4), CLIP / 4, 6, bounded=False),
}


def moved(row: Row, contributions: np.ndarray, node: int) -> float:
    """Change in L2, as a share of the row's bound."""
    without = contributions.copy()
    without[node] = 0.0
    return float(np.linalg.norm(row.release(contributions) - row.release(without)) / row.bound)


def within_the_clip(contributions: np.ndarray, node: int, bounded: bool) -> np.ndarray:
    """Everybody's contribution on or in the ball. Of an unbounded row, the node's own may lie beyond it as well."""
    fitted = project(contributions, CLIP)
    if not bounded:
        fitted[node] = contributions[node]
    return fitted


@pytest.mark.parametrize("name", TABLE)
@given(st.data())
@settings(max_examples=300)
def test_no_case_is_above_the_bound(name, data):
    row = TABLE[name]
    node = data.draw(st.integers(0, row.nodes - 1))
    length = data.draw(st.integers(1, 3))
    number = st.one_of(st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]), st.floats(-2, 2))
    flat = data.draw(st.lists(number, min_size=row.nodes * length, max_size=row.nodes * length))
    contributions = within_the_clip(np.array(flat).reshape(row.nodes, length), node, row.bounded)
    assert moved(row, contributions, node) <= 1 + 1e-9


@pytest.mark.parametrize("name", TABLE)
def test_a_search_comes_within_five_percent(name):
    row, random = TABLE[name], np.random.default_rng(17)
    best, found = 0.0, np.zeros((row.nodes, 2))
    for _ in range(4000):
        step = random.normal(size=found.shape) * 10.0 ** random.uniform(-3, 0)
        step *= random.random((row.nodes, 1)) < 0.4
        tried = within_the_clip(found + step, 0, row.bounded)
        ratio = moved(row, tried, 0)
        if ratio > best or (ratio == best and random.random() < 0.5):
            best, found = ratio, tried
    assert 0.95 <= best <= 1 + 1e-9


def test_krum_and_geometric_median_have_no_such_bound():
    """Where the choice depends on the others, one contribution moves the result by a distance between others."""
    values = np.array([[0.0], [0.1], [0.2], [0.8], [0.9], [1.0], [0.4]])
    before = combine(values, "krum", 2, False, None, 0.0)
    after = combine(np.concatenate([values[:-1], [[0.6]]]), "krum", 2, False, None, 0.0)
    assert abs(float(after[0] - before[0])) > 0.5 > 3 * CLIP / len(values)
    line = np.array([[0.0], [1.0], [0.001]])
    near = combine(line, "geometric-median", 1, False, None, 0.0)
    far = combine(np.array([[0.0], [1.0], [0.999]]), "geometric-median", 1, False, None, 0.0)
    assert abs(float(far[0] - near[0])) > 2.9 * CLIP / 3
