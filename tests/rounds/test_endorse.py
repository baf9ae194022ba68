"""Step 0: nodes vouch for one instance of the enclave per epoch, and for none that forgot what they saw."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.adversary import as_node, finish, vouch
from tests.playground import MODEL, Play, entropy

from crimson_enclave.dispatch import Fault
from crimson_enclave.event_log import EventLog
from crimson_enclave.instance import Instance
from crimson_enclave.rounds.endorse import endorsements_needed
from crimson_enclave.session import Session
from crimson_node.seen import InstanceEndorsed
from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.evidence.validate import Appraisal
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.messages.endorse import Endorse


def instance_of(federation: Play, epoch: int, log: EventLog, seed: str) -> Instance:
    """Another start of the federation's enclave on a log, with the sealed signing key."""
    running = federation.session.instance
    return Instance.start(
        federation.policy, log.checkpoint(), running.attester, entropy(seed), epoch, running.signing
    )


def appraised(federation: Play, node: int, instance: Instance) -> Appraisal:
    agent = federation.agents[node]
    return agent.appraise(instance.attester.attest(instance.claims, agent.challenge(), federation.now))


def grown(log: EventLog, leaves: int) -> EventLog:
    """The first `leaves` events of a log."""
    copy = EventLog()
    for leaf in log.leaves[:leaves]:
        copy.leaves.append(leaf)
        copy.tree.append(leaf)
    return copy


def endorse(federation: Play, node: int, instance: Instance, log: EventLog | None = None) -> bytes:
    agent, tree = federation.agents[node], (log or federation.session.log).tree
    proof = tree.consistency_proof(*sorted((agent.last_log_size, instance.claims.checkpoint.size)))
    return agent.endorse(appraised(federation, node, instance), proof)


def test_an_instance_needs_a_quorum_before_it_offers_anything(play: Callable[..., Play]):
    federation = play(6)
    needed = endorsements_needed(federation.policy)
    assert needed == 4
    for node in range(needed):
        with pytest.raises(CallerFault) as caught:
            federation.session.open(MODEL)
        assert caught.value.code is Refusal.NOT_ENDORSED
        assert not federation.session.endorse(vouch(federation, node))
    assert federation.session.open(MODEL)


def test_one_node_counts_once(play):
    federation = play(6)
    for _ in range(6):
        assert not federation.session.endorse(vouch(federation, 2))
    assert federation.session.endorsed == {2}


@pytest.mark.parametrize("change", ["federation", "epoch", "claims_digest"])
def test_an_endorsement_of_another_instance_is_not_counted(play, change):
    federation = play(6)
    claims = federation.session.instance.claims
    honest = Endorse(federation.policy.federation, 1, claims.epoch, claims.digest())
    other = {"federation": "elsewhere", "epoch": claims.epoch + 1, "claims_digest": bytes(32)}
    control = as_node(federation, 1, replace(honest, **{change: other[change]}))
    assert federation.session.endorse(control) == (Fault("gateway", Refusal.WRONG_CONTEXT),)
    assert not federation.session.endorsed


def test_an_endorsement_in_anothers_name_is_not_counted(play):
    federation = play(6)
    claims = federation.session.instance.claims
    control = as_node(federation, 1, Endorse("federation", 2, claims.epoch, claims.digest()))
    assert federation.session.endorse(control) == (Fault("site-1", Refusal.WRONG_CONTEXT),)
    assert not federation.session.endorsed


def test_a_second_instance_of_one_epoch_is_refused(play):
    """Attack 12, two enclaves from one state: an honest node follows the first it endorsed."""
    federation = play(6)
    federation.prepare()
    twin = instance_of(federation, 1, EventLog(), "twin")
    for node in range(6):
        with pytest.raises(PeerFault) as caught:
            endorse(federation, node, twin)
        assert (caught.value.code, caught.value.culprit) == (Refusal.SECOND_INSTANCE, "enclave")


def test_an_instance_left_behind_gets_no_advertisement(play):
    """Once a node endorsed a later start, the offers of the earlier one are refused."""
    federation = play(6)
    offer = federation.until("offer")
    later = instance_of(federation, 2, federation.session.log, "later")
    endorse(federation, 3, later)
    federation.deliver(offer)
    assert {node: fault.code for node, fault in federation.refused.items()} == {3: Refusal.SECOND_INSTANCE}
    assert set(federation.session.state.advertised) == {0, 1, 2, 4, 5}


def test_an_enclave_on_an_older_state_is_not_endorsed(play):
    """Attack 12, sealed-state rollback: the copy's log ends before what the nodes saw."""
    federation = play(6)
    size = len(federation.session.log.leaves)
    assert federation.round()
    older = instance_of(federation, 2, grown(federation.session.log, size), "older")
    for node in range(6):
        with pytest.raises(PeerFault) as caught:
            endorse(federation, node, older)
        assert (caught.value.code, caught.value.culprit) == (Refusal.LOG_WENT_BACK, "enclave")


def test_an_enclave_on_another_log_is_not_endorsed(play):
    federation = play(6)
    assert federation.round()
    fork = EventLog()
    for time in range(len(federation.session.log.leaves) + 3):
        fork.boot(bytes(32), time)
    with pytest.raises(PeerFault) as caught:
        endorse(federation, 0, instance_of(federation, 2, fork, "fork"), fork)
    assert caught.value.code is Refusal.LOG_WENT_BACK


def test_a_node_remembers_the_log_that_it_vouched_for(play):
    """Attack 12: a copy restarted until its epoch is higher, on a log that forks before what was vouched for."""
    federation = play(6)
    assert federation.round()
    grown_log = grown(federation.session.log, len(federation.session.log.leaves))
    for time in range(40):
        grown_log.boot(bytes(32), time)
    endorse(federation, 0, instance_of(federation, 2, grown_log, "long"), grown_log)
    fork = grown(federation.session.log, len(federation.session.log.leaves))
    fork.boot(bytes(32), 1)
    agent, instance = federation.agents[0], instance_of(federation, 3, fork, "short")
    with pytest.raises(PeerFault) as caught:
        agent.endorse(appraised(federation, 0, instance), ())
    assert (caught.value.code, caught.value.culprit) == (Refusal.LOG_WENT_BACK, "enclave")


def test_an_epoch_far_ahead_is_not_endorsed(play):
    """It would shut every later start out for ever."""
    federation = play(6)
    with pytest.raises(PeerFault) as caught:
        endorse(federation, 0, instance_of(federation, 2**63 - 1, federation.session.log, "far"))
    assert caught.value.code is Refusal.SECOND_INSTANCE
    federation.prepare()
    assert finish(federation, federation.open()) == "Released"


def test_an_endorsement_is_journaled_and_said_again_after_a_restart(play):
    federation = play(6)
    federation.prepare()
    agent = federation.agents[4] = federation.agent(4)
    claims = federation.session.instance.claims
    assert agent.seen.endorsed == (1, claims.digest())
    assert endorse(federation, 4, federation.session.instance) == vouch(federation, 4)
    entries = [entry for _, entry in agent._journal.entries() if isinstance(entry, InstanceEndorsed)]
    assert entries == [InstanceEndorsed(1, claims.digest(), claims.checkpoint)]


def test_a_restart_between_rounds_goes_on_with_the_same_log_and_keys(play):
    federation = play(6)
    assert federation.round()
    old = federation.session
    instance = instance_of(federation, 2, old.log, "restart")
    federation.session = Session(
        policy=federation.policy,
        instance=instance,
        artifacts=old.artifacts,
        spool=federation.spool,
        clock=old.clock,
        entropy=entropy("restarted enclave"),
        observer=old.observer,
        log=old.log,
        places=old.places,
        published=old.published,
        previous=old.previous,
        bound=old.bound,
    )
    federation.prepare()
    assert finish(federation, federation.open()) == "Released"
    assert federation.session.state.receipt.round == 2
