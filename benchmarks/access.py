"""Time of one access decision: rules that are parsed already, asked as the enclave asks them before a release."""

import time
from statistics import median

from tests.playground import MODEL, make_parties

from benchmarks.goals import Row, at_most
from crimson_protocol.policy.decisions import may_release
from crimson_protocol.policy.document import Policy

GOAL = 200.0
BATCH = 50


def access_decision(batches: int) -> Row:
    """Microseconds of CPU per decision: the median over batches, after one that does not count."""
    policy = make_parties(6, seed="access").policy
    took = [_batch(policy) for _ in range(batches + 1)]
    return at_most("access decision, rules parsed before", median(took[1:]), GOAL, "us")


def _batch(policy: Policy) -> float:
    start = time.process_time()
    for round_ in range(BATCH):
        decision = may_release(policy, MODEL, round=round_, accepted=5, dropped=1, simulated=True)
        assert decision.allowed
    return (time.process_time() - start) / BATCH * 1e6
