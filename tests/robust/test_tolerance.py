"""How many bad values each rule tolerates, and that it is refused beyond it."""

import numpy as np
import pytest

from crimson_enclave.robust import combine, most_tolerated
from crimson_enclave.robust.tolerance import refuse_beyond
from crimson_protocol.errors import CallerFault
from crimson_protocol.policy.document import ROBUST_RULES
from crimson_protocol.refusal import Refusal

# Values, floor((M - 1) / 2), Krum's 2f + 3 <= M: worst cases for n nodes in buckets of s, M = n / s.
TABLE = [
    (12, 5, 4), (6, 2, 1), (4, 1, 0), (3, 1, 0), (20, 9, 8), (10, 4, 3), (5, 2, 1), (30, 14, 13), (15, 7, 6),
    (60, 29, 28), (100, 49, 48), (50, 24, 23), (25, 12, 11), (1, 0, -1), (2, 0, -1),
]  # fmt: skip


@pytest.mark.parametrize(("values", "others", "krum"), TABLE)
def test_the_table(values, others, krum):
    for rule in ROBUST_RULES:
        expected = {"none": 0, "krum": krum, "multi-krum": krum}.get(rule, others)
        assert most_tolerated(rule, values) == expected
        if expected >= 0:
            refuse_beyond(rule, values, expected)
        with pytest.raises(CallerFault) as caught:
            refuse_beyond(rule, values, expected + 1)
        assert caught.value.code is Refusal.COHORT_TOO_SMALL


@pytest.mark.parametrize("mixing", [False, True])
@pytest.mark.parametrize("rule", ROBUST_RULES)
def test_no_rule_is_applied_beyond(rule, mixing):
    values = np.ones((8, 2))
    with pytest.raises(CallerFault) as caught:
        combine(values, rule, most_tolerated(rule, 8) + 1, mixing, None, 1.0)
    assert caught.value.code is Refusal.COHORT_TOO_SMALL


@pytest.mark.parametrize("rule", ROBUST_RULES)
def test_nothing_is_made_of_nothing(rule):
    assert most_tolerated(rule, 0) < 0
    with pytest.raises(CallerFault):
        combine(np.empty((0, 2)), rule, 0, False, None, 1.0)


def test_a_negative_tolerance_and_an_unknown_rule_are_refused():
    with pytest.raises(CallerFault):
        refuse_beyond("median", 9, -1)
    with pytest.raises(CallerFault):
        most_tolerated("bulyan", 99)
