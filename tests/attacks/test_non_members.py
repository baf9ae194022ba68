"""Attack: active nodes that may not train a model vote on it, or are put into its roster. Only members count."""

from dataclasses import replace

import pytest
from tests.adversary import as_node, refused_by
from tests.playground import ACCESS, Parties, Play, default_numbers, make_parties, parse, sign_policy

from crimson_enclave.access import release_decided
from crimson_protocol.policy.access import AccessRules
from crimson_protocol.refusal import Refusal

HOSPITALS_ONLY = """
@id("hospitals-only")
forbid (principal, action == Action::"train", resource) when { principal.kind == "blood_bank" };
"""
LARGE_SUMS = """
@id("large-sums")
forbid (principal, action == Action::"release", resource) unless { context.accepted >= 9 };
"""


def ruled(nodes: int, rules: str, banks: int = 0) -> Parties:
    """Parties under more access rules; the last `banks` of them are blood banks."""
    parties = make_parties(nodes, default_numbers(nodes - banks))
    first = nodes - banks
    roster = tuple(
        replace(entry, kind="blood_bank") if at >= first else entry
        for at, entry in enumerate(parties.policy.roster)
    )
    access = AccessRules(ACCESS.policies + rules, ACCESS.schema)
    policy = replace(parties.policy, roster=roster, access=access)
    return replace(parties, policy=policy, signed=sign_policy(parties.governor, policy))


@pytest.fixture
def mixed(play) -> Play:
    """Six hospitals that train, and two blood banks that may not."""
    federation = play(8, parties=ruled(8, HOSPITALS_ONLY, banks=2))
    assert federation.policy.members("model") == tuple(range(6))
    return federation


def test_confirmations_of_nodes_that_may_not_train_do_not_make_a_quorum(mixed):
    said = mixed.until("request")
    signed = parse(said[0][1]).confirmations
    assert len(signed) == 4
    strangers = [as_node(mixed, at, replace(parse(signed[0]), node=at)) for at in (6, 7)]
    forged = mixed.alter(said, confirmations=(*signed[:2], *strangers))
    refused_by(mixed, forged, Refusal.UNKNOWN_NODE, range(6))


def test_an_advertisement_of_a_node_that_may_not_train_is_its_fault(mixed):
    mixed.prepare()
    replies = mixed.deliver(mixed.open(), upload=False)
    assert {fault.code for fault in mixed.upload(7, replies[7])} == {Refusal.ACCESS_DENIED}
    assert 7 not in mixed.session.state.advertised


def test_a_roster_with_a_node_that_may_not_train_is_refused(mixed):
    mixed.prepare()
    offer = mixed.open()
    replies = mixed.deliver(offer, upload=False)
    for index in range(6):
        mixed.upload(index, replies[index])
    roster = mixed.close()
    known = parse(roster[0][1])
    forged = mixed.alter(roster, advertisements=(*known.advertisements, replies[6].control))
    refused_by(mixed, forged, Refusal.ACCESS_DENIED, range(6))


def test_the_round_is_released_by_its_members_alone(mixed):
    assert mixed.round()
    assert mixed.opened[-1][1] == tuple(range(6))


def test_a_denied_decision_to_train_is_in_the_log_with_the_rule_that_made_it(mixed):
    mixed.prepare()
    mixed.open()
    assert sum(b"hospitals-only" in leaf for leaf in mixed.session.log.leaves) == 2


def test_a_result_that_no_rule_lets_out_is_never_confirmed(play):
    federation = play(6, parties=ruled(6, LARGE_SUMS))
    federation.deliver(federation.until("shared"))
    federation.close()
    state = federation.session.state
    assert (state.code, state.again) == (Refusal.ACCESS_DENIED, False)
    assert any(b"large-sums" in leaf for leaf in federation.session.log.leaves)
    assert not federation.opened


def test_a_broken_enclave_that_shows_such_a_verdict_finds_nobody_to_confirm_it(play, monkeypatch):
    federation = play(6, parties=ruled(6, LARGE_SUMS))
    federation.deliver(federation.until("shared"))
    decided = "crimson_enclave.closing.release_decided"
    monkeypatch.setattr(
        decided, lambda policy, judged: replace(release_decided(policy, judged), allowed=True)
    )
    said = federation.close()
    federation.deliver(said[:1])
    refused_by(federation, said[1:], Refusal.ACCESS_DENIED)
