"""The enclave's opening against the keystreams that dropped and accepted nodes leave it to expand."""

from tests.playground import MODEL

from benchmarks.federation import LocalEnclave, Nodes, numbers, parties, play
from benchmarks.goals import Row, at_most
from benchmarks.timing import against, keystreams
from crimson_enclave.aggregation.aggregate import aggregate
from crimson_enclave.aggregation.memory import Memory
from crimson_enclave.rounds.release import open_totals
from crimson_enclave.state import Unmasking
from crimson_protocol.secret import shamir

UNMASK_GOAL = 1.6


def enclave_unmask(nodes: int, parameters: int, dropped: int, repeats: int) -> Row:
    """Rebuild, unmask, check, aggregate, at one dense bucket with `dropped` nodes gone after Share."""
    enclave = unmasking_enclave(nodes, parameters, dropped)
    state = enclave.session.state
    assert isinstance(state, Unmasking)
    rules, base = state.judged.agreement.terms.rules, enclave.session.base(MODEL)
    total = state.sums.bucket(0)
    masked = total.copy()

    def restore() -> None:
        total[:] = masked
        # A bucket is unmasked once: without its mark it is masked again.
        state.sums._unmasked.clear()
        # Holders answer in another combination each round, so their weights are computed anew.
        shamir._weights_at_zero.cache_clear()

    def subject() -> bytes:
        totals = open_totals(state, enclave.spool)
        return aggregate(rules, rules.strategy, base, Memory(), totals, None).artifact

    accepted = nodes - dropped
    streams = accepted + dropped * accepted
    measured = against(keystreams(streams, 4 * parameters), subject, repeats, restore)
    name = f"enclave unmask, n = {nodes}, d = {parameters:,}, {dropped / nodes:.0%} dropped"
    return at_most(name, measured.ratio, UNMASK_GOAL, "x AES-CTR floor")


def unmasking_enclave(nodes: int, parameters: int, dropped: int) -> LocalEnclave:
    """An enclave that has summed every vector and holds a threshold of opened shares for every owner."""
    made = parties(numbers(nodes, parameters), nodes)
    enclave, sites = LocalEnclave(made), Nodes(made)
    gone = frozenset(range(0, nodes, nodes // dropped)[:dropped]) if dropped else frozenset()
    request = play(enclave, sites, "request", gone)
    for index, reply in sites.answer(request, frozenset(range(nodes)) - gone):
        enclave.receive(index, reply)
    return enclave
