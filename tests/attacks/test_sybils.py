"""Attack 3: keys of nobody, keys of somebody else, one identity twice. The signed roster policy decides."""

from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import (
    as_node,
    faults_of,
    finish,
    nothing_opened,
    others,
    refused_by,
    send,
    stranger,
    vouch,
)
from tests.playground import Play, entropy, lanes, make_parties, parse, sign_policy

from crimson_enclave.dispatch import Fault, UntrustedFrame
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import IdentityKey


def swapped(federation, said, node, by: IdentityKey):
    """The roster with `node`'s keys replaced and signed by `by`."""
    message = parse(said[0][1])
    mine = stranger().public
    own = replace(parse(message.advertisements[node]), mask_key=mine, share_key=mine)
    changed = list(message.advertisements)
    changed[node] = sign_message(by, node, own)
    return federation.alter(said, advertisements=tuple(changed))


def test_a_swapped_key_is_refused_by_every_node(play):
    federation = play(6)
    said = federation.until("roster")
    forged = swapped(federation, said, 3, IdentityKey.fresh(entropy("relay")))
    refused_by(federation, forged, Refusal.UNKNOWN_NODE)
    nothing_opened(federation)


def test_a_key_swapped_with_the_nodes_own_signature_is_seen_by_the_node(play):
    """Even with the identity key stolen: the owner does not find its own advertisement, and withdraws."""
    federation = play(6)
    said = federation.until("roster")
    forged = swapped(federation, said, 3, federation.parties.identities[3])
    refused_by(federation, forged, Refusal.UNKNOWN_NODE, [3])


def test_the_same_advertisement_twice_is_refused(play):
    federation = play(6)
    said = federation.until("roster")
    known = parse(said[0][1]).advertisements
    refused_by(federation, federation.alter(said, advertisements=(*known, known[2])), Refusal.UNKNOWN_NODE)


def test_one_identity_under_two_indices_is_refused(play):
    federation = play(6)
    said = federation.until("roster")
    known = parse(said[0][1]).advertisements
    clone = sign_message(federation.parties.identities[2], 5, replace(parse(known[2]), node=5))
    refused_by(federation, federation.alter(said, advertisements=(*known[:5], clone)), Refusal.UNKNOWN_NODE)


def test_an_index_beyond_the_roster_is_refused(play):
    federation = play(6)
    said = federation.until("roster")
    known = parse(said[0][1]).advertisements
    sybil = sign_message(IdentityKey.fresh(entropy("sybil")), 6, replace(parse(known[2]), node=6))
    refused_by(federation, federation.alter(said, advertisements=(*known, sybil)), Refusal.UNKNOWN_NODE)


@pytest.mark.parametrize("status", ["suspended", "revoked"])
def test_a_node_that_is_not_active_is_no_member(tmp_path, status):
    parties = make_parties(6)
    roster = list(parties.policy.roster)
    roster[5] = replace(roster[5], status=status)
    parties.policy = replace(parties.policy, roster=tuple(roster))
    parties.signed = sign_policy(parties.governor, parties.policy)
    federation = Play(tmp_path, 6, parties=parties)
    offer = federation.until("offer")
    endorsement = vouch(federation, 5)
    assert federation.session.endorse(endorsement) == (Fault("gateway", Refusal.UNKNOWN_NODE),)
    federation.deliver(offer, range(5))
    replies = federation.deliver(offer, [5], upload=False)
    faults = send(federation, replies[5].control)
    assert [(fault.culprit, fault.code) for fault in faults] == [("gateway", Refusal.UNKNOWN_NODE)]
    said = federation.close()
    known = parse(said[0][1]).advertisements
    forged = federation.alter(said, advertisements=(*known, replies[5].control))
    refused_by(federation, forged, Refusal.UNKNOWN_NODE, range(5))


@pytest.mark.parametrize("kind", ["mask_key", "share_key"])
@pytest.mark.parametrize("key", [b"\xff" * 1216, b"\xff" * 1184 + bytes(32)])
def test_a_key_that_nothing_can_be_sealed_to_is_its_nodes_fault(play, kind, key):
    """In the roster it would stop every honest dealer, and none of them could say whose fault it is."""
    federation = play(6)
    offer = federation.until("offer")
    federation.deliver(offer, others(federation, 4))
    reply = federation.deliver(offer, [4], upload=False)[4]
    state = federation.session.state
    faults = send(federation, as_node(federation, 4, replace(parse(reply.control), **{kind: key})))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-4", Refusal.MALFORMED)]
    assert federation.session.state is state
    assert finish(federation, federation.close(), others(federation, 4)) == "Released"
    assert np.array_equal(lanes(federation), federation.plain_sum(others(federation, 4)))


def test_what_no_node_signed_is_the_relays(play):
    federation = play(6)
    offer = federation.until("offer")
    reply = federation.deliver(offer, [0], upload=False)[0]
    forged = sign_message(IdentityKey.fresh(entropy("relay")), 0, parse(reply.control))
    for control in (forged, reply.control[:-1] + bytes([reply.control[-1] ^ 1])):
        federation.session.receive(UntrustedFrame(control))
    # Logged once: a relay that repeats itself must not grow the log.
    assert faults_of(federation) == [("gateway", Refusal.BAD_SIGNATURE)]
    assert not federation.session.state.advertised


def test_a_node_that_speaks_for_another_is_named(play):
    federation = play(6)
    offer = federation.until("offer")
    reply = federation.deliver(offer, [0], upload=False)[0]
    control = as_node(federation, 1, parse(reply.control))
    assert [(fault.culprit, fault.code) for fault in send(federation, control)] == [
        ("site-1", Refusal.WRONG_CONTEXT)
    ]


def test_two_advertisements_of_one_node_are_equivocation(play):
    federation = play(6)
    offer = federation.until("offer")
    federation.deliver(offer)
    first = federation.session.state.advertised[2]
    second = as_node(federation, 2, replace(first.message, share_key=stranger().public))
    faults = send(federation, second)
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-2", Refusal.EQUIVOCATION)]
    assert federation.session.state.advertised[2] is first
    assert finish(federation, federation.close()) == "Released"


def test_a_second_policy_under_the_same_serial_is_refused_and_its_signer_named(play):
    federation = play(4)
    known = federation.policy
    federation.policy = replace(known, expires=known.expires + 1)
    with pytest.raises(PeerFault) as caught:
        federation.agent(0)
    assert (caught.value.code, caught.value.culprit) == (Refusal.POLICY_REJECTED, "governors")
    federation.policy = known
    assert federation.agent(0).member.policy == known
