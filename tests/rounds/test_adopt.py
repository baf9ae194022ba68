"""Step 15: a node that missed a release takes it from the relay, and only the right one."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.adversary import finish, others
from tests.playground import MODEL, Play, parse

from crimson_protocol.errors import PeerFault
from crimson_protocol.receipt import SignedReceipt, verify_receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.receipts import sign_checkpoint, sign_receipt
from crimson_protocol.wire.messages.advertise import Checkpoint
from crimson_protocol.wire.messages.release import Abort, Release


class Missed:
    """Six nodes, one of which (5) was away while round 1 was released."""

    def __init__(self, play: Callable[..., Play]) -> None:
        self.federation = play(6)
        said = self.federation.until("release", others(self.federation, 5))
        self.federation.deliver(said, others(self.federation, 5))
        self.data = said[0][1]
        self.release: Release = parse(self.data)
        instance, agent = self.federation.session.instance, self.federation.agents[5]
        self.agent = agent
        self.appraisal = agent.appraise(
            instance.attester.attest(instance.claims, agent.challenge(), self.federation.now)
        )
        self.receipt = verify_receipt(self.release.receipt, instance.signing.public)

    def adopt(self, data: bytes | None = None):
        size = self.federation.session.log.tree.size
        proof = self.federation.proof(self.agent.last_log_size, size)
        return self.agent.adopt(data or self.data, self.appraisal, proof)

    def forged(self, **changes: object) -> bytes:
        """The release under the enclave's own signature with fields changed."""
        return self.federation.forge(replace(self.release, **changes))

    def with_receipt(self, **changes: object) -> bytes:
        key = self.federation.session.instance.signing
        return self.forged(receipt=sign_receipt(key, replace(self.receipt, **changes)))

    def refused(self, data: bytes, code: Refusal, culprit: str = "enclave") -> None:
        before = self.agent.seen
        with pytest.raises(PeerFault) as caught:
            self.adopt(data)
        assert (caught.value.code, caught.value.culprit) == (code, culprit)
        assert self.agent.seen == before


@pytest.fixture
def missed(play) -> Missed:
    return Missed(play)


def test_a_missed_release_is_adopted_and_the_node_takes_part_again(missed):
    federation = missed.federation
    finished = missed.adopt()
    assert finished.artifact == federation.session.base(MODEL)
    assert missed.agent.seen.base_digest(federation.policy, MODEL) == missed.receipt.output_digest
    federation.prepare()
    assert finish(federation, federation.open()) == "Released"
    assert federation.session.state.receipt.accepted[-1].node == 5


def test_a_node_that_did_not_adopt_refuses_the_next_offer(missed):
    federation = missed.federation
    federation.prepare()
    journal = missed.agent._journal
    journal.seen = replace(journal.seen, released={})
    federation.deliver(federation.open())
    assert federation.refused[5].code is Refusal.MODEL_REJECTED


def test_a_release_for_another_verdict_than_the_node_confirmed_is_not_adopted(play):
    federation = play(6)
    said = federation.until("release")
    agent, instance = federation.agents[2], federation.session.instance
    release = parse(said[0][1])
    receipt = verify_receipt(release.receipt, instance.signing.public)
    other = sign_receipt(instance.signing, replace(receipt, v=bytes(32)))
    forged = federation.forge(replace(release, receipt=other))
    appraisal = agent.appraise(instance.attester.attest(instance.claims, agent.challenge(), federation.now))
    with pytest.raises(PeerFault) as caught:
        agent.adopt(
            forged, appraisal, federation.proof(agent.last_log_size, federation.session.log.tree.size)
        )
    assert (caught.value.code, caught.value.culprit) == (Refusal.RECEIPT_REJECTED, "enclave")


def test_an_old_release_is_not_adopted_again(missed):
    missed.adopt()
    missed.refused(missed.data, Refusal.ROUND_WENT_BACK)


def test_a_release_that_the_enclave_did_not_sign_is_the_relays(missed):
    missed.refused(missed.data[:-1] + bytes([missed.data[-1] ^ 1]), Refusal.BAD_SIGNATURE, "gateway")


def test_another_message_in_place_of_a_release_is_the_relays(missed):
    abort = missed.federation.forge(Abort(bytes(32), "restarted"))
    missed.refused(abort, Refusal.MALFORMED, "gateway")


@pytest.mark.parametrize(
    "change", [{"federation": "elsewhere"}, {"model": "another"}, {"policy_serial": 2}], ids=str
)
def test_a_receipt_of_another_federation_model_or_policy_is_refused(missed, change):
    missed.refused(missed.with_receipt(**change), Refusal.RECEIPT_REJECTED)


def test_a_receipt_under_another_key_is_refused(missed):
    signed = SignedReceipt.from_bytes(missed.release.receipt, 1 << 20)
    broken = SignedReceipt(signed.eddsa, signed.mldsa[:-1] + b"\x00").to_bytes()
    missed.refused(missed.forged(receipt=broken), Refusal.BAD_SIGNATURE)


def test_a_release_outside_the_log_is_refused(missed):
    missed.refused(missed.with_receipt(time=missed.receipt.time + 1), Refusal.LOG_WENT_BACK)
    missed.refused(missed.forged(leaf_index=0), Refusal.LOG_WENT_BACK)


@pytest.mark.parametrize("federation", ["federation", "elsewhere"])
def test_a_checkpoint_of_another_log_or_federation_is_refused(missed, federation):
    key, size = missed.federation.session.instance.signing, missed.federation.session.log.tree.size
    checkpoint = sign_checkpoint(key, federation, Checkpoint(size, bytes(32)), missed.federation.now)
    missed.refused(missed.forged(checkpoint=checkpoint.to_bytes()), Refusal.LOG_WENT_BACK)


def test_a_log_that_is_not_one_with_what_the_node_saw_is_refused(missed):
    """The release stands in its checkpoint's log, but the node saw another one."""
    journal = missed.agent._journal
    journal.seen = replace(journal.seen, checkpoint=Checkpoint(2, bytes(32)))
    missed.refused(missed.data, Refusal.LOG_WENT_BACK)


def test_an_artifact_other_than_the_receipts_is_refused(missed):
    artifact = replace(missed.release.artifact, digest=bytes(32))
    with pytest.raises(PeerFault) as caught:
        missed.adopt(missed.forged(artifact=artifact))
    assert caught.value.code in (Refusal.BAD_BOX, Refusal.MODEL_REJECTED)
