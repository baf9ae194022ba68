"""What a hostile gateway may try on a node: each is refused with its code, and nothing more leaves the hospital."""

from dataclasses import replace

import numpy as np
from tests.node.federation import FEATURES, MODEL, MOMENTS
from tests.playground import MEASUREMENT

from crimson_enclave.event_log import EventLog
from crimson_enclave.instance import Attester
from crimson_node.outcome import (
    ATTESTATION_FAILED,
    BAD_INPUT,
    INTEGRITY_FAILED,
    REFUSED_BY_POLICY,
    BadConfiguration,
    failure_of,
)
from crimson_protocol.artifact import Artifact
from crimson_protocol.errors import PeerFault, PolicyRefusal
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import DualKey
from crimson_protocol.wire import web


def left(relay, node: int) -> set[str]:
    """Names of the paths to which a node sent something."""
    return {
        seen.path.rsplit("/", 1)[-1] for seen in relay.requests if seen.node == node and seen.method != "GET"
    }


def refused(node) -> set[str]:
    """Codes of what a node said it refused."""
    return {event.fields["code"] for event in node.said("refused")}


def finished_round(one, model: str = MOMENTS) -> None:
    """A round that every node has saved."""
    assert one.round(model) == "released"
    one.relay.wait(lambda: all(node.said("released") for node in one.running.values()))


def test_a_policy_that_goes_back_is_refused(federation):
    one = federation()
    newer = one.homes.signed(serial=2)
    one.relay.signed_policy = newer
    one.start(0)
    one.relay.wait(lambda: one.running[0].said("policy"))
    one.stop(0)
    one.relay.signed_policy = one.homes.parties.signed
    one.relay.requests.clear()
    one.start(0)
    error = one.running[0].ended()
    assert (error.code, failure_of(error).exit_code) == (Refusal.POLICY_WENT_BACK, REFUSED_BY_POLICY)
    assert not left(one.relay, 0)


def test_two_policies_under_one_serial_are_refused(federation):
    one = federation()
    one.start(0)
    one.relay.wait(lambda: one.running[0].said("endorsed"))
    # It says so before its word is out.
    one.relay.wait(lambda: "endorsements" in left(one.relay, 0))
    one.relay.signed_policy = one.homes.signed(federation="another")
    one.relay.requests.clear()
    one.relay.call(MOMENTS)
    error = one.running[0].ended()
    assert (error.code, failure_of(error).exit_code) == (Refusal.POLICY_REJECTED, REFUSED_BY_POLICY)
    assert "governor" in str(error)
    assert not left(one.relay, 0)


def test_a_policy_of_another_governor_is_refused(federation):
    one = federation()
    stranger = replace(one.homes.parties, governor=DualKey(bytes(range(64))))
    one.relay.signed_policy = one.homes.sign(stranger, stranger.policy).signed
    one.start(0)
    error = one.running[0].ended()
    assert (error.code, failure_of(error).exit_code) == (Refusal.POLICY_REJECTED, REFUSED_BY_POLICY)
    assert not left(one.relay, 0)


def test_a_suspended_node_takes_no_part_and_says_why(federation):
    one = federation(6)
    roster = list(one.homes.parties.policy.roster)
    roster[0] = replace(roster[0], status="suspended")
    one.relay.signed_policy = one.homes.signed(serial=2, roster=tuple(roster))
    one.start(0)
    error = one.running[0].ended()
    assert isinstance(error, PolicyRefusal)
    assert failure_of(error).exit_code == REFUSED_BY_POLICY
    assert "site-0 is suspended" in str(error)


def test_keys_of_another_site_are_told_apart_from_the_configured_name(federation):
    one = federation()
    one.start(0, settings={"node": "site-3"})
    error = one.running[0].ended()
    assert isinstance(error, BadConfiguration)
    assert failure_of(error).exit_code == BAD_INPUT
    assert "site-0" in error.hint


def test_forged_evidence_is_refused_before_anything_is_signed(federation):
    one = federation()
    session = one.relay.session
    forger = Attester(DualKey(bytes(range(64))), MEASUREMENT)
    session.instance = replace(session.instance, attester=forger)
    one.start(0)
    error = one.running[0].ended()
    assert (error.code, failure_of(error).exit_code) == (Refusal.EVIDENCE_REJECTED, ATTESTATION_FAILED)
    assert not left(one.relay, 0)


def test_evidence_for_another_challenge_is_refused(federation):
    one = federation()
    kept = []

    def replay(evidence: bytes, _: int) -> bytes:
        kept.append(evidence)
        return kept[0]

    one.start(0)
    one.relay.wait(lambda: one.running[0].said("endorsed"))
    one.relay.alter["evidence"] = replay
    one.start(1)
    one.relay.wait(lambda: one.running[1].said("endorsed"))
    one.start(2)
    assert one.running[2].ended().code is Refusal.EVIDENCE_REJECTED
    assert not left(one.relay, 2)


def test_a_second_instance_of_one_epoch_is_refused(federation):
    one = federation()
    one.start(0)
    one.relay.wait(lambda: one.running[0].said("endorsed"))
    # It says so before its word is out.
    one.relay.wait(lambda: "endorsements" in left(one.relay, 0))
    one.relay.epoch -= 1
    one.relay.start_enclave()
    one.relay.requests.clear()
    one.relay.call(MOMENTS)
    error = one.running[0].ended()
    assert (error.code, failure_of(error).exit_code) == (Refusal.SECOND_INSTANCE, ATTESTATION_FAILED)
    assert not left(one.relay, 0)


def test_a_forked_log_gets_no_endorsement(federation):
    """An enclave on an older copy of its state: its log does not extend what the node saw."""
    one = federation()
    one.start()
    finished_round(one)
    relay, parties = one.relay, one.homes.parties
    relay.log = EventLog()
    for time in range(40):
        relay.log.boot(parties.policy.digest(), time)
    relay.start_enclave()
    relay.requests.clear()
    relay.call(MODEL)
    for node in one.running.values():
        error = node.ended()
        assert (error.code, failure_of(error).exit_code) == (Refusal.LOG_WENT_BACK, INTEGRITY_FAILED)
    assert not any(left(relay, node) for node in one.running)


def test_an_offer_on_a_forked_log_is_refused(federation):
    """The relay proves another log than the offer's to one node: that node keeps its keys to itself."""
    one = federation(6, patience=1.0)
    one.start()
    finished_round(one)
    relay = one.relay

    def another(proof: bytes, node: int) -> bytes | None:
        return web.ProofHashes((bytes(32),) * 3).to_bytes() if node == 0 else None

    # The relay's own noise is logged too: the log has grown since the release that the nodes saw.
    assert relay.session.endorse(b"noise")
    relay.alter["consistency"] = another
    round_ = relay.call(MODEL)
    assert relay.wait_over(round_) == "released"
    assert Refusal.LOG_WENT_BACK.value in refused(one.running[0])
    receipts = relay.session.receipts
    assert len(receipts) == 2
    assert not (one.homes.home(0) / "receipts" / f"{MODEL}-1.cbor").exists()


def test_another_initial_model_than_the_policy_names_is_refused(federation):
    one = federation()
    one.start()
    finished_round(one)
    other = Artifact.of(np.ones(len(FEATURES), np.float32)).to_bytes()
    one.relay.alter["artifacts"] = lambda body, node: other if node == 0 else None
    one.relay.call(MODEL)
    error = one.running[0].ended()
    assert (error.code, failure_of(error).exit_code) == (Refusal.MODEL_REJECTED, INTEGRITY_FAILED)


def test_an_altered_release_is_not_adopted(federation):
    one = federation(6, patience=1.0)
    one.start(1, 2, 3, 4, 5)
    round_ = one.relay.call(MOMENTS)
    assert one.relay.wait_over(round_) == "released"

    def alter(release: bytes, node: int) -> bytes:
        return release[:-70] + bytes([release[-70] ^ 1]) + release[-69:]

    one.relay.alter["release"] = alter
    one.start(0)
    one.relay.call(MODEL)
    error = one.running[0].ended()
    assert isinstance(error, PeerFault)
    assert failure_of(error).exit_code == INTEGRITY_FAILED
    assert not (one.homes.home(0) / "models" / f"{MOMENTS}.artifact").exists()
