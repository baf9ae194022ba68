"""Attack 1: each node is given another model, so that the sum isolates one. Nodes never agree on such a round."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import as_node, believe, finish, nothing_opened, others, refused_by, send
from tests.playground import MODEL, Play, lanes, parse

from crimson_protocol.artifact import Artifact
from crimson_protocol.refusal import Refusal
from crimson_protocol.transcript import model_digest


def trap(federation: Play) -> bytes:
    """Another model than the federation's."""
    return Artifact.of(np.full(federation.numbers.parameters, 9, np.float32)).to_bytes()


def test_an_offer_on_another_model_than_the_one_trained_on_is_refused(play):
    federation = play(6)
    offer = federation.until("offer")
    altered = federation.alter(offer, model_digest=model_digest(trap(federation)))
    refused_by(federation, altered, Refusal.MODEL_REJECTED)
    assert all(agent.state.phase.value == "Ready" for agent in federation.agents)
    assert finish(federation, offer) == "Released"


def test_a_model_that_no_release_leads_to_is_refused_even_where_the_node_trained_on_it(play):
    """Attack 2: a consistent bad model. Lineage runs from the policy's initial artifact through receipts."""
    federation = play(6)
    digest = model_digest(trap(federation))
    offer = federation.until("offer")
    for agent in federation.agents:
        agent.state = replace(agent.state, update=replace(agent.state.update, model_digest=digest))
    refused_by(federation, federation.alter(offer, model_digest=digest), Refusal.MODEL_REJECTED)
    nothing_opened(federation)


def test_nodes_on_two_models_never_share_a_roster(play):
    """Site 0 was given, trained on and offered another model; its advertisement fits no other node's offer."""
    federation = play(6)
    digest = model_digest(trap(federation))
    offer = federation.until("offer")
    agent = federation.agents[0]
    agent.state = replace(agent.state, update=replace(agent.state.update, model_digest=digest))
    believe(federation, digest, [0])
    federation.deliver(offer, others(federation, 0))
    replies = federation.deliver(federation.alter(offer, model_digest=digest), [0], upload=False)
    assert send(federation, replies[0].control)[0].code is Refusal.WRONG_CONTEXT
    honest = federation.close()
    mixed = (*parse(honest[0][1]).advertisements, replies[0].control)
    forged = [(None, federation.forge(replace(parse(honest[0][1]), advertisements=mixed)))]
    refused_by(federation, forged, Refusal.WRONG_CONTEXT)
    nothing_opened(federation)
    # A roster of another context changes nothing; the five on one model go on.
    assert finish(federation, honest, others(federation, 0)) == "Released"
    assert np.array_equal(lanes(federation), federation.plain_sum(others(federation, 0)))


@pytest.mark.parametrize("field", ["offer_digest", "graph_nonce"])
def test_a_roster_of_another_offer_or_nonce_is_refused(play, field):
    federation = play(6)
    said = federation.until("roster")
    code = Refusal.WRONG_CONTEXT if field == "offer_digest" else Refusal.NONCE_NOT_COMMITTED
    refused_by(federation, federation.alter(said, **{field: bytes(32)}), code)
    nothing_opened(federation)


def test_a_vector_masked_under_another_view_is_seen_by_its_t1(play):
    """The signed header carries T1, so the enclave compares and names, before anything is added up."""
    federation = play(6)
    said = federation.until("shared")
    federation.deliver(said, others(federation, 2))
    reply = federation.deliver(said, [2], upload=False)[2]
    state = federation.session.state
    forged = as_node(federation, 2, replace(parse(reply.control), t1=bytes(32)))
    faults = send(federation, forged, bytes(reply.payload))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-2", Refusal.WRONG_CONTEXT)]
    assert federation.session.state is state
    assert finish(federation, federation.close(), others(federation, 2)) == "Released"
    assert np.array_equal(lanes(federation), federation.plain_sum(others(federation, 2)))


def test_masks_of_another_view_do_not_cancel_and_the_count_words_say_so(play):
    """A node that masks under another T1 but names the right one spoils the sum, and nothing is released."""
    federation = play(6)
    said = federation.until("shared")
    federation.deliver(said, others(federation, 2))
    reply = federation.deliver(said, [2], upload=False)[2]
    noise = bytes(byte ^ 0x5A for byte in reply.payload)
    header = replace(parse(reply.control), digest=hashlib.sha256(noise).digest())
    federation.spool.vectors[2] = noise
    assert send(federation, as_node(federation, 2, header), noise) == ()
    agent = federation.agents[2]
    agent.state = replace(agent.state, digest=header.digest)
    assert finish(federation, federation.close()) == "Aborted"
    state = federation.session.state
    assert (state.code, state.culprits, state.again) == (Refusal.COUNT_WORDS_DIFFER, (), False)
    nothing_opened(federation)
    assert MODEL in federation.session.bound
