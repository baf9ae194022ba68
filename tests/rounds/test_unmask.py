"""Round 5, unmask: requests that a node refuses (steps 11.1 to 11.4), and what it opens for those it takes."""

from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import as_node, finish, nothing_opened, others, refused_by
from tests.playground import default_numbers, entropy, lanes, parse

from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import unmask_info
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import IdentityKey
from crimson_protocol.wire.messages.unmask import OpenedShares


@pytest.fixture
def asked(play):
    """The request is out and not delivered."""
    federation = play(6)
    federation.said = federation.until("request")
    federation.signed = parse(federation.said[0][1]).confirmations
    return federation


def refuses(federation, code: Refusal, confirmations) -> None:
    forged = federation.alter(federation.said, confirmations=tuple(confirmations))
    refused_by(federation, forged, code)
    federation.deliver(federation.close())
    assert federation.session.state.code is Refusal.TOO_FEW_SHARES
    nothing_opened(federation)


def test_the_request_carries_exactly_a_quorum(asked):
    assert len(asked.signed) == asked.session.state.judged.agreement.cohort.quorum == 4


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_than_a_quorum_are_refused(asked, count):
    refuses(asked, Refusal.TOO_FEW_CONFIRMATIONS, asked.signed[:count])


def test_a_confirmation_repeated_counts_once(asked):
    refuses(asked, Refusal.TOO_FEW_CONFIRMATIONS, asked.signed[:3] * 2)


def test_a_forged_confirmation_is_refused(asked):
    body = parse(asked.signed[3])
    forged = sign_message(IdentityKey.fresh(entropy("relay")), 3, body)
    refuses(asked, Refusal.BAD_SIGNATURE, (*asked.signed[:3], forged))


def test_a_confirmation_of_another_verdict_is_refused(asked):
    other = as_node(asked, 3, replace(parse(asked.signed[3]), v=bytes(32)))
    forged = asked.alter(asked.said, confirmations=(*asked.signed[:3], other))
    refused_by(asked, forged, Refusal.WRONG_CONTEXT)
    # It could be an old one that the relay mixed up, so the true request still gets its answer.
    assert finish(asked, asked.said) == "Released"


@pytest.mark.parametrize("changes", [{"round": 2}, {"model": "other"}, {"federation": "other"}, {"node": 4}])
def test_a_confirmation_of_another_round_or_in_anothers_name_is_refused(asked, changes):
    other = as_node(asked, 3, replace(parse(asked.signed[3]), **changes))
    refused_by(
        asked, asked.alter(asked.said, confirmations=(*asked.signed[:3], other)), Refusal.WRONG_CONTEXT
    )


def test_a_confirmation_of_no_active_node_is_refused(asked):
    body = replace(parse(asked.signed[3]), node=6)
    sybil = sign_message(IdentityKey.fresh(entropy("sybil")), 6, body)
    refuses(asked, Refusal.UNKNOWN_NODE, (*asked.signed[:3], sybil))


@pytest.mark.parametrize("bad", [b"", b"\x80", bytes(512)])
def test_a_confirmation_that_is_none_is_refused(asked, bad):
    refuses(asked, Refusal.MALFORMED, (*asked.signed, bad))


def test_another_signed_message_is_no_confirmation(asked):
    advertisement = asked.session.state.judged.agreement.envelopes[3]
    too_long = asked.alter(asked.said, confirmations=asked.signed)
    assert too_long == asked.said
    manifest = asked.session.state.dealings[3].manifest
    assert len(advertisement) > 512
    refuses(asked, Refusal.MALFORMED, (*asked.signed[:3], manifest))


def test_a_request_for_another_verdict_changes_nothing(asked):
    refused_by(asked, asked.alter(asked.said, v=bytes(32)), Refusal.WRONG_CONTEXT)
    assert {agent.state.phase.value for agent in asked.agents} == {"Confirmed"}
    assert finish(asked, asked.said) == "Released"


def test_the_same_request_gets_the_same_bytes_for_ever(asked):
    first = {node: reply.control for node, reply in asked.deliver(asked.said, upload=False).items()}
    for _ in range(3):
        again = {node: reply.control for node, reply in asked.deliver(asked.said, upload=False).items()}
        assert again == first


def test_a_different_request_is_refused_and_does_not_cost_the_first_its_answer(asked):
    """Other confirmations of the same verdict are another request, too."""
    first = asked.deliver(asked.said, upload=False)
    for forged in (
        asked.alter(asked.said, v=bytes(32)),
        asked.alter(asked.said, confirmations=asked.signed[::-1]),
        asked.alter(asked.said, confirmations=(*asked.signed, asked.signed[0])),
    ):
        refused_by(asked, forged, Refusal.SECOND_REQUEST)
    again = asked.deliver(asked.said)
    assert {node: reply.control for node, reply in again.items()} == {
        node: reply.control for node, reply in first.items()
    }
    assert finish(asked, asked.close()) == "Released"
    assert np.array_equal(lanes(asked), asked.plain_sum(range(6)))


def test_what_is_opened_are_shares_one_for_each_owner_that_the_verdict_opens(play):
    """Never its own b: what a node opens of itself is its own share, as any other holder's."""
    federation = play(6)
    said = federation.until("shared")
    secrets = {node: federation.agents[node].state.secrets for node in range(6)}
    federation.deliver(said, others(federation, 4))
    for _ in range(2):
        said = federation.close()
        held = {node: dict(getattr(agent.state, "held", {})) for node, agent in enumerate(federation.agents)}
        replies = federation.deliver(said, others(federation, 4))
    key = federation.session.state.secrets.round_key
    for node, reply in replies.items():
        body = parse(reply.control)
        opened = OpenedShares.from_bytes(key.open(unmask_info(body.v, node), body.box), 1 << 20).shares
        assert [item.owner for item in opened] == list(range(6))
        for item in opened:
            mine = held[node][item.owner]
            wanted = mine.root_share if item.owner == 4 else mine.self_share
            assert item.share == wanted.reveal()
            assert item.share not in (secrets[item.owner].seed.reveal(), secrets[item.owner].root.reveal())


def test_after_opening_the_shares_are_gone(asked):
    asked.deliver(asked.said)
    assert not any(hasattr(agent.state, "held") for agent in asked.agents)


def test_nothing_is_opened_for_a_bucket_that_stays_closed(play):
    federation = play(12, numbers=default_numbers(12, bucket_size=6, corrupt=(1, 6)))
    said = federation.until("shared")
    first, second = federation.session.state.dealt.agreement.graph.buckets
    alive = [*first, *second[:3]]
    for _ in range(3):
        federation.deliver(said, alive)
        said = federation.close()
    assert federation.session.state.phase.value == "Released"
    opened = {owner for owner in range(12) if federation.session.state.judged.opens(owner)}
    assert opened == set(first)
