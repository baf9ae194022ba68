"""Numbers of a round against the protocol's table, and against log-gamma tails as a second method."""

from fractions import Fraction
from math import exp, lgamma, log, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from crimson_protocol.cohort import (
    DENSE_LIMIT,
    Numbers,
    Share,
    SparseNumbers,
    bucket_floor,
    corrupt_count,
    dense_threshold,
    densest_degree,
    drops_tolerated,
    numbers,
    probability_bucket_too_corrupt,
    quorum,
    sparse_numbers,
)
from crimson_protocol.errors import CallerFault, PolicyRefusal
from crimson_protocol.refusal import Refusal

TENTH, FIFTH, THIRD = (1, 10), (1, 5), (1, 3)
THREE_TENTHS = (3, 10)


@pytest.mark.parametrize(
    ("n", "counts", "thresholds", "drops"),
    [
        (6, (1, 1, 2), (4, 4, 5), (2, 2, 1)),
        (12, (1, 2, 4), (7, 8, 9), (5, 4, 3)),
        (30, (3, 6, 10), (17, 19, 21), (13, 11, 9)),
        (60, (6, 12, 20), (34, 37, 41), (26, 23, 19)),
        (100, (10, 20, 33), (56, 61, 67), (44, 39, 33)),
    ],
)
def test_small_table(
    n: int, counts: tuple[int, ...], thresholds: tuple[int, ...], drops: tuple[int, ...]
) -> None:
    for corrupt, count, threshold, drop in zip((TENTH, FIFTH, THIRD), counts, thresholds, drops, strict=True):
        assert corrupt_count(n, corrupt) == count
        assert quorum(n, corrupt) == threshold
        assert drops_tolerated(n, threshold) == drop
        assert numbers(n, n, corrupt, TENTH) == Numbers(count, threshold, threshold, n, n - 1, 0, True)


LARGE_TABLE = [
    (TENTH, TENTH, SparseNumbers(61, 36, 58, 36)),
    (FIFTH, TENTH, SparseNumbers(88, 58, 85, 58)),
    (THIRD, TENTH, SparseNumbers(133, 96, 131, 96)),
    (TENTH, THREE_TENTHS, SparseNumbers(112, 48, 109, 48)),
    (FIFTH, THREE_TENTHS, SparseNumbers(176, 87, 174, 88)),
    (THIRD, THREE_TENTHS, SparseNumbers(305, 171, 301, 170)),
]


@pytest.mark.parametrize(("corrupt", "dropout", "expected"), LARGE_TABLE)
def test_large_table(corrupt: Share, dropout: Share, expected: SparseNumbers) -> None:
    assert sparse_numbers(1000, corrupt, dropout) == expected


class LogFactorials:
    """The same tails from log-gamma and floats, summed term by term: no recurrence, no integers."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.table = [lgamma(i + 1) for i in range(n + 1)]

    def log_choose(self, n: int, k: int) -> float:
        return self.table[n] - self.table[k] - self.table[n - k]

    def log_tail(self, marked: int, draws: int, bound: int) -> float:
        """log P[more than `bound` marked among `draws` of the other n - 1 nodes]."""
        others, low = self.n - 1, draws - (self.n - 1 - marked)
        terms = [
            self.log_choose(marked, x) + self.log_choose(others - marked, draws - x)
            for x in range(max(bound + 1, low), min(marked, draws) + 1)
        ]
        if not terms:
            return float("-inf")
        top = max(terms)
        return top + log(sum(exp(term - top) for term in terms)) - self.log_choose(others, draws)

    def corrupt_bound(self, corrupt: int, draws: int, at_least: int) -> int:
        limit = -64 * log(2) - log(self.n)
        return next(x for x in range(at_least, draws + 1) if self.log_tail(corrupt, draws, x) <= limit)

    def smallest(self, corrupt: int, dropped: int, reserve: int, step: int) -> tuple[int, int]:
        limit, bound = -20 * log(2) - log(self.n), 0
        for degree in range(1, self.n):
            bound = self.corrupt_bound(corrupt, degree, bound)
            may_go = degree - bound - reserve
            live = may_go >= 0 and self.log_tail(dropped, degree, may_go) <= limit
            if live and degree % step == 0:
                return degree, bound
        raise AssertionError("no degree")


@pytest.mark.parametrize(
    ("n", "corrupt", "dropout"),
    [(1000, corrupt, dropout) for corrupt, dropout, _ in LARGE_TABLE]
    + [(129, FIFTH, THREE_TENTHS), (200, TENTH, TENTH), (301, THIRD, TENTH), (2000, FIFTH, TENTH)],
)
@pytest.mark.parametrize("step", [1, 2])
def test_sparse_numbers_by_a_second_method(n: int, corrupt: Share, dropout: Share, step: int) -> None:
    other = LogFactorials(n)
    bad, gone = n * corrupt[0] // corrupt[1], n * dropout[0] // dropout[1]
    holders, corrupt_holders = other.smallest(bad, gone, 3, step)
    neighbours, corrupt_neighbours = other.smallest(bad, gone, 2, step)
    expected = SparseNumbers(holders, corrupt_holders + 1, neighbours, corrupt_neighbours + 2)
    assert sparse_numbers(n, corrupt, dropout, step) == expected


def test_tails_of_the_second_method_are_scipys() -> None:
    other = LogFactorials(1000)
    for marked, draws, bound in ((100, 61, 34), (100, 61, 35), (333, 305, 170), (300, 305, 132)):
        assert other.log_tail(marked, draws, bound) == pytest.approx(
            float(hypergeom.logsf(bound, 999, marked, draws)), rel=1e-6
        )


def test_rounds_above_the_limit_take_even_degrees() -> None:
    assert numbers(1000, 1000, TENTH, TENTH) == Numbers(100, 36, 551, 62, 58, 36, False)
    # A hundred sites are absent, and all 110 corrupt ones may be here.
    assert numbers(1000, 1100, TENTH, TENTH) == Numbers(100, 38, 606, 64, 62, 39, False)
    for n in (DENSE_LIMIT + 1, 300, 777):
        found = numbers(n, n, FIFTH, THREE_TENTHS)
        assert not found.dense
        assert found.holders % 2 == found.neighbours % 2 == 0
        assert max(found.holders, found.neighbours) <= densest_degree(n)
    assert numbers(DENSE_LIMIT, DENSE_LIMIT, FIFTH, TENTH).dense


@given(st.integers(3, 4000), st.integers(0, 99))
def test_two_quorums_share_an_honest_node(active: int, percent: int) -> None:
    corrupt = (percent, 100)
    bad, confirmations = corrupt_count(active, corrupt), quorum(active, corrupt)
    assert 2 * confirmations - active > bad
    assert 2 * dense_threshold(active, bad) - active > bad


def test_corrupt_count_is_at_least_one_unless_declared_zero() -> None:
    assert corrupt_count(3, (1, 10)) == 1
    assert corrupt_count(3, (0, 10)) == 0
    assert corrupt_count(12, (1, 3)) == 4
    assert bucket_floor(6, THIRD) == 5
    assert bucket_floor(6, (0, 1)) == 3


@pytest.mark.parametrize("share", [(1, 1), (3, 2), (-1, 10), (1, 0), (1, -2)])
def test_shares_outside_zero_to_one_are_refused(share: Share) -> None:
    with pytest.raises(PolicyRefusal) as refused:
        corrupt_count(10, share)
    assert refused.value.code is Refusal.UNSOUND_POLICY
    with pytest.raises(PolicyRefusal):
        sparse_numbers(200, TENTH, share)


@pytest.mark.parametrize(("n", "corrupt"), [(1, (0, 1)), (2, (0, 1)), (3, TENTH), (4, (1, 2))])
def test_small_cohorts_are_refused(n: int, corrupt: Share) -> None:
    with pytest.raises(PolicyRefusal) as refused:
        numbers(n, n, corrupt, TENTH)
    assert refused.value.code is Refusal.COHORT_TOO_SMALL


def test_three_nodes_need_the_declared_weakness() -> None:
    assert numbers(3, 3, (0, 1), TENTH) == Numbers(0, 2, 2, 3, 2, 0, True)


@pytest.mark.parametrize("dropout", [(9, 10), (6, 10), (2, 3)])
def test_impossible_shares_are_refused(dropout: Share) -> None:
    with pytest.raises(PolicyRefusal) as refused:
        numbers(2000, 2000, THIRD, dropout)
    assert refused.value.code is Refusal.UNSOUND_POLICY


def test_callers_mistakes() -> None:
    with pytest.raises(CallerFault):
        numbers(10, 9, TENTH, TENTH)
    with pytest.raises(CallerFault):
        sparse_numbers(DENSE_LIMIT, TENTH, TENTH)
    with pytest.raises(CallerFault):
        sparse_numbers(200, TENTH, TENTH, 0)
    with pytest.raises(CallerFault):
        corrupt_count(-1, TENTH)
    with pytest.raises(CallerFault):
        probability_bucket_too_corrupt(10, TENTH, 11)


def test_probability_that_a_bucket_is_too_corrupt() -> None:
    # Two corrupt of six, three draws, one allowed: both corrupt and one of four others, of C(6, 3) = 20.
    assert probability_bucket_too_corrupt(6, THIRD, 3) == Fraction(4, 20)
    assert probability_bucket_too_corrupt(60, FIFTH, 60) == 0
    for active, corrupt, size in ((60, FIFTH, 12), (100, THIRD, 20), (1000, TENTH, 50)):
        bad, allowed = active * corrupt[0] // corrupt[1], size * corrupt[0] // corrupt[1]
        expected = float(hypergeom.sf(allowed, active, bad, size))
        assert float(probability_bucket_too_corrupt(active, corrupt, size)) == pytest.approx(expected)


@pytest.mark.parametrize("present", [601, 700, 900])
def test_sparse_degrees_are_private_with_every_corrupt_site_of_the_roster_present(present: int) -> None:
    found, bad = numbers(present, 1000, FIFTH, TENTH), corrupt_count(1000, FIFTH)
    for degree, bound in ((found.holders, found.threshold - 1), (found.neighbours, found.live_degree - 2)):
        tail = float(hypergeom.logsf(bound, present - 1, bad, degree)) / log(2)
        assert tail + log2(present) <= -64
