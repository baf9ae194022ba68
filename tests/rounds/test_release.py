"""Round 6, release: what the enclave does not release (step 12), and what a node does not believe (step 14)."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import finish, others, refused_by
from tests.playground import MODEL, Play, entropy, lanes, make_parties, parse, sign_policy

from crimson_enclave.event_log import EventLog
from crimson_protocol import cose
from crimson_protocol.artifact import Artifact
from crimson_protocol.events import SignedCheckpoint
from crimson_protocol.receipt import SignedReceipt, release_event, verify_receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.artifacts import seal_artifact
from crimson_protocol.secret.keys import DualKey, Secret
from crimson_protocol.secret.receipts import sign_checkpoint, sign_receipt
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.advertise import Checkpoint


@pytest.fixture
def released(play):
    """Release is out and not delivered."""
    federation = play(6)
    federation.said = federation.until("release")
    federation.release = parse(federation.said[0][1])
    federation.receipt = federation.session.state.receipt
    return federation


def refuses(federation, code: Refusal, **changes) -> None:
    """Nobody believes the altered release; the true one is still taken."""
    refused_by(federation, federation.alter(federation.said, **changes), code)
    assert {agent.state.phase.value for agent in federation.agents} == {"Opened"}
    assert all(agent._journal.seen.bound for agent in federation.agents)
    federation.deliver(federation.said)
    assert {agent.state.phase.value for agent in federation.agents} == {"Finished"}
    assert len(federation.session.receipts) == 1


def resigned(play, **changes) -> bytes:
    """A receipt that says something else, signed by the enclave itself."""
    return sign_receipt(play.session.instance.signing, replace(play.receipt, **changes))


TOLD = {
    "federation": "other",
    "model": "other",
    "round": 2,
    "attempt": 2,
    "t1": bytes(32),
    "v": bytes(32),
    "accepted": (),
    "dropped": (5,),
    "rejected": (5,),
    "closed": (0,),
    "model_digest": bytes(32),
    "policy_digest": bytes(32),
    "policy_serial": 2,
    "claims_digest": bytes(32),
    "measurement": bytes(32),
    "simulated": False,
    "disclosures": ("simulated",),
}


@pytest.mark.parametrize("told", TOLD)
def test_a_receipt_that_tells_another_round_is_refused(released, told):
    refuses(released, Refusal.RECEIPT_REJECTED, receipt=resigned(released, **{told: TOLD[told]}))


def test_a_receipt_with_another_vector_digest_is_refused(released):
    changed = replace(released.receipt.accepted[2], digest=bytes(32))
    accepted = (*released.receipt.accepted[:2], changed, *released.receipt.accepted[3:])
    refuses(released, Refusal.RECEIPT_REJECTED, receipt=resigned(released, accepted=accepted))


def test_a_release_of_another_verdict_is_refused(released):
    refuses(released, Refusal.WRONG_CONTEXT, v=bytes(32))


def test_a_receipt_under_another_key_is_refused(released):
    forged = sign_receipt(DualKey.fresh(entropy("forger")), released.receipt)
    refuses(released, Refusal.BAD_SIGNATURE, receipt=forged)


@pytest.mark.parametrize("which", ["eddsa", "mldsa"])
def test_a_receipt_needs_both_signatures(released, which):
    known = SignedReceipt.from_bytes(released.release.receipt, 1 << 20)
    forged = SignedReceipt.from_bytes(
        sign_receipt(DualKey.fresh(entropy("forger")), released.receipt), 1 << 20
    )
    mixed = replace(known, **{which: getattr(forged, which)})
    refuses(released, Refusal.BAD_SIGNATURE, receipt=mixed.to_bytes())


def test_a_receipt_whose_payload_was_exchanged_is_refused(released):
    known = SignedReceipt.from_bytes(released.release.receipt, 1 << 20)
    message = cose.parse(known.eddsa, 1 << 20)
    payload = replace(released.receipt, output_digest=bytes(32)).to_bytes()
    mixed = replace(known, eddsa=cose.build(message.protected, payload, message.signature))
    refuses(released, Refusal.BAD_SIGNATURE, receipt=mixed.to_bytes())


def test_a_receipt_with_its_algorithms_exchanged_is_refused(released):
    known = SignedReceipt.from_bytes(released.release.receipt, 1 << 20)
    refuses(released, Refusal.RECEIPT_REJECTED, receipt=replace(known, mldsa=known.eddsa).to_bytes())


@pytest.mark.parametrize("data", [b"", b"\x80", bytes(100)])
def test_bytes_that_are_no_receipt_are_refused(released, data):
    refuses(released, Refusal.MALFORMED, receipt=data)


# The log.


def checkpoint(play, **changes) -> SignedCheckpoint:
    """The release's checkpoint with changes, signed by the enclave."""
    known = SignedCheckpoint.from_bytes(play.release.checkpoint, 8192)
    body = replace(known.checkpoint, **{k: v for k, v in changes.items() if k in ("size", "root")})
    name = changes.get("federation", known.federation)
    return sign_checkpoint(play.session.instance.signing, name, body, known.time)


@pytest.mark.parametrize(
    "changes", [{"root": bytes(32)}, {"size": 3}, {"size": 10**6}, {"federation": "other"}]
)
def test_a_checkpoint_that_does_not_hold_the_release_is_refused(released, changes):
    data = checkpoint(released, **changes).to_bytes()
    refuses(released, Refusal.LOG_WENT_BACK, checkpoint=data)


def test_a_checkpoint_under_another_key_is_refused(released):
    known = SignedCheckpoint.from_bytes(released.release.checkpoint, 8192)
    forged = sign_checkpoint(DualKey.fresh(entropy("x")), known.federation, known.checkpoint, known.time)
    refuses(released, Refusal.BAD_SIGNATURE, checkpoint=forged.to_bytes())


@pytest.mark.parametrize("field", ["inclusion", "consistency"])
@pytest.mark.parametrize(
    "cut", [lambda path: (), lambda path: path[:-1], lambda path: (bytes(32), *path[1:])]
)
def test_a_proof_that_does_not_lead_to_the_checkpoint_is_refused(released, field, cut):
    path = getattr(released.release, field)
    assert path
    refuses(released, Refusal.LOG_WENT_BACK, **{field: cut(path)})


@pytest.mark.parametrize("index", [0, 1, 10**6])
def test_another_place_in_the_log_is_refused(released, index):
    refuses(released, Refusal.LOG_WENT_BACK, leaf_index=index)


def test_a_forked_log_that_holds_the_release_is_refused(released):
    """All else holds: receipt, checkpoint, inclusion. But this log never held what the offer rested on."""
    fork = EventLog()
    for _ in range(10):
        fork.boot(bytes(32), 0)
    index = fork.append(release_event(released.receipt, released.release.receipt))
    head = fork.checkpoint()
    signing, federation = released.session.instance.signing, released.policy.federation
    for consistency in ((), fork.tree.consistency_proof(1, head.size), released.release.consistency):
        signed = sign_checkpoint(signing, federation, Checkpoint(head.size, head.root), released.receipt.time)
        forged = released.alter(
            released.said,
            checkpoint=signed.to_bytes(),
            leaf_index=index,
            inclusion=fork.tree.inclusion_proof(index, head.size),
            consistency=consistency,
        )
        refused_by(released, forged, Refusal.LOG_WENT_BACK)
    released.deliver(released.said)
    assert {agent.state.phase.value for agent in released.agents} == {"Finished"}


# The artifact.


def test_another_artifact_than_the_receipt_names_is_refused(released):
    other = Artifact.of(np.ones(5, np.float32)).to_bytes()
    sealed = seal_artifact(released.policy, released.receipt, other, Secret(bytes(32)), entropy("seal"))
    refuses(released, Refusal.MODEL_REJECTED, artifact=sealed)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"digest": bytes(32)}, Refusal.MODEL_REJECTED),
        ({"nonce": bytes(12)}, Refusal.BAD_BOX),
        ({"ciphertext": b""}, Refusal.BAD_BOX),
        ({"keys": ()}, Refusal.BAD_BOX),
    ],
)
def test_an_altered_artifact_is_refused(released, changes, code):
    refuses(released, code, artifact=replace(released.release.artifact, **changes))


def test_a_key_box_for_another_node_is_refused(released):
    keys = released.release.artifact.keys
    swapped = tuple(replace(key, box=keys[(place + 1) % 6].box) for place, key in enumerate(keys))
    refuses(released, Refusal.BAD_BOX, artifact=replace(released.release.artifact, keys=swapped))


def test_the_relay_cannot_read_what_is_released(released):
    plain = released.session.state.artifact
    assert plain not in released.said[0][1]
    assert Artifact.from_bytes(plain, 1 << 20).parameters not in released.said[0][1]
    assert {key.node for key in released.release.artifact.keys} == set(released.policy.active())


# The honest end.


def test_every_node_has_the_same_artifact_and_a_receipt_that_verifies(released):
    released.deliver(released.said)
    artifacts = {agent.state.artifact for agent in released.agents}
    assert artifacts == {released.session.artifacts[MODEL]}
    for agent in released.agents:
        receipt = verify_receipt(agent.state.receipt, released.session.instance.signing.public)
        assert receipt == released.receipt
        assert all(check.ok for check in receipt.checks)
        assert model_digest(agent.state.artifact) == receipt.output_digest


def test_receipts_form_a_chain(released):
    released.deliver(released.said)
    first = released.release.receipt
    released.prepare()
    assert finish(released, released.open()) == "Released"
    assert released.session.state.receipt.previous == hashlib.sha256(first).digest()
    assert released.session.state.receipt.model_digest == released.receipt.output_digest


def test_a_node_that_was_silent_at_unmask_still_reads_the_release(play):
    federation = play(6)
    said = federation.until("request")
    federation.deliver(said, others(federation, 3))
    said = federation.close()
    assert federation.agents[3].state.phase.value == "Confirmed"
    federation.deliver(said)
    assert {agent.state.phase.value for agent in federation.agents} == {"Finished"}
    assert np.array_equal(lanes(federation), federation.plain_sum(range(6)))


def test_a_roster_key_that_nothing_can_be_sealed_to_costs_its_own_node_alone(tmp_path):
    parties = make_parties(4)
    roster = list(parties.policy.roster)
    roster[3] = replace(roster[3], encryption_key=b"\xff" * 1216)
    parties.policy = replace(parties.policy, roster=tuple(roster))
    parties.signed = sign_policy(parties.governor, parties.policy)
    federation = Play(tmp_path, 4, parties=parties)
    said = federation.until("release")
    refused_by(federation, said, Refusal.BAD_BOX, [3])
    federation.deliver(said, range(3))
    assert {federation.agents[node].state.phase.value for node in range(3)} == {"Finished"}


def test_too_few_shares_lose_the_round_and_leave_nothing_open(play):
    federation = play(6)
    federation.deliver(federation.until("request"), [0, 1, 2])
    federation.deliver(federation.close())
    state = federation.session.state
    assert (state.code, state.again, state.culprits) == (Refusal.TOO_FEW_SHARES, False, ())
    assert not federation.opened and not federation.session.receipts
    assert {agent.state.phase.value for agent in federation.agents} == {"Withdrawn"}


def test_what_was_lost_is_logged(play):
    federation = play(6)
    federation.deliver(federation.until("request"), [0])
    size = federation.session.log.tree.size
    federation.close()
    assert federation.session.log.tree.size == size + 1
    assert (
        hashlib.sha256(b"\0" + federation.session.log.leaves[-1]).digest()
        == (federation.session.log.tree._levels[0][-1])
    )
    assert Refusal.TOO_FEW_SHARES.value.encode() in federation.session.log.leaves[-1]
