"""Time of one access decision: rules that are parsed already, asked as the enclave asks them before a release."""

from tests.playground import MODEL, make_parties

from benchmarks.goals import Row, at_most
from benchmarks.timing import cpu_seconds
from crimson_protocol.policy.decisions import may_release
from crimson_protocol.policy.document import Policy

GOAL = 200.0
BATCH = 50


def access_decision(repeats: int) -> Row:
    """Microseconds of CPU per decision, at least; a first turn parses the rules and does not count."""
    policy = make_parties(6, seed="access").policy
    took = [cpu_seconds(lambda: _decide(policy)) for _ in range(repeats + 1)]
    return at_most("access decision, rules parsed before", min(took[1:]) / BATCH * 1e6, GOAL, "us")


def _decide(policy: Policy) -> None:
    for round_ in range(BATCH):
        assert may_release(policy, MODEL, round=round_, accepted=5, dropped=1, simulated=True).allowed
