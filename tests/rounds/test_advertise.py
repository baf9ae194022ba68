"""Round 1, advertise: what a node refuses before anything leaves it (steps 2.1 to 2.6)."""

import hashlib
from dataclasses import replace

import pytest
from tests.adversary import finish, nothing_opened, refused_by
from tests.playground import MEASUREMENT, NOW, Play, entropy, make_parties, parse, sign_policy

from crimson_enclave.instance import Attester
from crimson_node.member import Update
from crimson_protocol.errors import CallerFault, PeerFault, PolicyRefusal
from crimson_protocol.evidence.format import Evidence, Measure, report_bytes
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import BoxKey, DualKey
from crimson_protocol.wire.messages.advertise import Checkpoint

DAY = 86_400


@pytest.fixture
def federation(play) -> Play:
    return play(4)


def judge(federation: Play, data: bytes) -> PeerFault:
    """The evidence as the first node's last challenge is answered with it."""
    with pytest.raises(PeerFault) as caught:
        federation.agents[0].appraise(data)
    assert federation.agents[0].state.phase.value == "Withdrawn"
    return caught.value


def attest(federation: Play, root=None, measurement=MEASUREMENT, at=NOW, lifetime=DAY, nonce=None, **claims):
    """Evidence of another root, measurement, time, nonce or other claims."""
    attester = Attester(root or federation.parties.root, measurement)
    changed = replace(federation.session.instance.claims, **claims)
    return attester.attest(changed, nonce or federation.agents[0].challenge(), at, lifetime)


REJECTED = {
    "foreign root": (lambda play: attest(play, root=DualKey.fresh(entropy("root"))), "signature"),
    "wrong measurement": (lambda play: attest(play, measurement=bytes(32)), "measurement"),
    "other nonce": (lambda play: attest(play, nonce=bytes(32)), "nonce"),
    "expired": (lambda play: attest(play, at=NOW - DAY - 1), "lifetime"),
    "from the future": (lambda play: attest(play, at=NOW + 301), "lifetime"),
    "valid too long": (lambda play: attest(play, lifetime=DAY + 1), "lifetime"),
    "other policy": (lambda play: attest(play, policy_digest=bytes(32)), "policy"),
    "other serial": (lambda play: attest(play, policy_serial=2), "policy"),
    "not labelled simulated": (lambda play: attest(play, simulated=False), "simulated"),
}


@pytest.mark.parametrize("why", REJECTED)
def test_evidence_is_rejected(federation, why):
    make, check = REJECTED[why]
    if why == "other nonce":
        federation.agents[0].challenge()
    fault = judge(federation, make(federation))
    assert (fault.code, fault.culprit) == (Refusal.EVIDENCE_REJECTED, "enclave")
    assert fault.text.startswith(f"enclave: {check}: ")


def test_evidence_counts_once(federation):
    data = attest(federation)
    federation.agents[0].appraise(data)
    fault = judge(federation, data)
    assert (fault.code, fault.culprit) == (Refusal.EVIDENCE_REJECTED, "enclave")


@pytest.mark.parametrize("part", ["box_key", "receipt_key", "checkpoint", "instance"])
def test_evidence_with_a_claim_changed_afterwards_is_rejected(federation, part):
    evidence = Evidence.from_bytes(attest(federation), 1 << 16)
    other = {
        "box_key": BoxKey.fresh(entropy("box")).public,
        "receipt_key": DualKey.fresh(entropy("key")).public,
        "checkpoint": Checkpoint(99, bytes(32)),
        "instance": bytes(16),
    }[part]
    claims = replace(evidence.preimage.claims, **{part: other})
    altered = replace(evidence, preimage=replace(evidence.preimage, claims=claims))
    fault = judge(federation, altered.to_bytes())
    assert (fault.code, fault.culprit) == (Refusal.EVIDENCE_REJECTED, "enclave")
    assert "report-data" in fault.text


def test_evidence_whose_report_was_altered_after_signing_is_rejected(federation):
    evidence = Evidence.from_bytes(attest(federation), 1 << 16)
    altered = replace(evidence, report=replace(evidence.report, isolated=True))
    assert report_bytes(altered.report) != report_bytes(evidence.report)
    fault = judge(federation, altered.to_bytes())
    assert (fault.code, fault.culprit) == (Refusal.EVIDENCE_REJECTED, "enclave")
    assert "signature" in fault.text


def test_a_kind_that_the_policy_does_not_name_is_rejected(tmp_path):
    parties = make_parties(4)
    policy = replace(parties.policy, evidence=replace(parties.policy.evidence, kinds=("nitro",)))
    parties.policy, parties.signed = policy, sign_policy(parties.governor, policy)
    federation = Play(tmp_path, 4, parties=parties)
    fault = judge(federation, attest(federation))
    assert (fault.code, fault.culprit) == (Refusal.EVIDENCE_REJECTED, "enclave")
    assert "does not accept sim" in fault.text


OFFERS = {
    "claims digest": ({"claims_digest": bytes(32)}, Refusal.EVIDENCE_REJECTED),
    "measurement": ({"measurement": bytes(32)}, Refusal.EVIDENCE_REJECTED),
    "simulated": ({"simulated": False}, Refusal.EVIDENCE_REJECTED),
    "policy went back": ({"policy_serial": 0}, Refusal.POLICY_WENT_BACK),
    "policy digest": ({"policy_digest": bytes(32)}, Refusal.POLICY_REJECTED),
    "policy ahead": ({"policy_serial": 2}, Refusal.POLICY_REJECTED),
    "federation": ({"federation": "other"}, Refusal.WRONG_CONTEXT),
    "unlisted model": ({"model": "other"}, Refusal.MODEL_REJECTED),
    "model digest": ({"model_digest": bytes(32)}, Refusal.MODEL_REJECTED),
    "round zero": ({"round": 0}, Refusal.AFTER_CONFIRM),
}


@pytest.mark.parametrize("why", OFFERS)
def test_an_offer_is_refused_and_a_true_one_still_taken(federation, why):
    changes, code = OFFERS[why]
    offer = federation.until("offer")
    refused_by(federation, federation.alter(offer, **changes), code)
    assert all(agent.state.phase.value == "Ready" for agent in federation.agents)
    nothing_opened(federation)
    assert finish(federation, offer) == "Released"


NUMBERS = {
    "parameters": 6,
    "counters": 1,
    "slices": 2,
    "ring_bits": 31,
    "value_bits": 15,
    "clip_micro": 9_000_000,
    "weight_cap": 17,
    "bucket_size": 4,
    "min_cohort": 3,
    "corrupt": (0, 1),
    "dropout": (0, 1),
    "noise_micro": 1,
    "steps_cap": 1,
}


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_is_not_the_policys_is_refused(federation, number):
    offer = federation.until("offer")
    numbers = replace(parse(offer[0][1]).numbers, **{number: NUMBERS[number]})
    refused_by(federation, federation.alter(offer, numbers=numbers), Refusal.NUMBERS_DIFFER)
    assert finish(federation, offer) == "Released"


def test_no_number_escapes_the_test_above(federation):
    assert set(NUMBERS) == set(type(federation.numbers).__dataclass_fields__)


def test_an_offer_after_the_evidence_expired_is_refused(federation):
    offer = federation.until("offer")
    federation.now = NOW + DAY
    refused_by(federation, offer, Refusal.EXPIRED)


def test_an_offer_after_the_policy_expired_is_refused(tmp_path):
    parties = make_parties(4)
    policy = replace(parties.policy, expires=NOW + 60)
    parties.policy, parties.signed = policy, sign_policy(parties.governor, policy)
    federation = Play(tmp_path, 4, parties=parties)
    offer = federation.until("offer")
    federation.now = NOW + 60
    refused_by(federation, offer, Refusal.EXPIRED)


def test_a_node_starts_under_no_older_policy_than_it_followed(federation):
    home = federation.agents[0]._journal._path
    assert home.exists()
    federation.policy = replace(federation.policy, serial=0)
    with pytest.raises(PeerFault) as caught:
        federation.agent(0)
    assert caught.value.code is Refusal.POLICY_WENT_BACK


@pytest.mark.parametrize("place", [(1, 1), (1, 0), (0, 9)])
def test_round_and_attempt_never_go_back(federation, place):
    offer = federation.until("offer")
    federation.deliver(offer, upload=False)
    federation.prepare()
    again = federation.alter(offer, round=place[0], attempt=place[1])
    code = Refusal.ROUND_WENT_BACK if place[0] else Refusal.AFTER_CONFIRM
    refused_by(federation, again, code)
    # The next attempt is taken.
    federation.deliver(federation.alter(offer, attempt=2), upload=False)
    assert {agent.state.phase.value for agent in federation.agents} == {"Advertised"}


LOGS = {
    "shorter": lambda old: Checkpoint(old.size - 1, old.root),
    "other root": lambda old: Checkpoint(old.size, bytes(32)),
    "longer, unproven": lambda old: Checkpoint(old.size + 5, hashlib.sha256(b"fork").digest()),
    "empty": lambda old: Checkpoint(0, hashlib.sha256(b"").digest()),
}


@pytest.mark.parametrize("why", LOGS)
def test_the_log_never_goes_back_or_forks(federation, why):
    assert federation.round()
    federation.prepare()
    offer = federation.open()
    old = federation.agents[0]._journal.seen.checkpoint
    refused_by(federation, federation.alter(offer, checkpoint=LOGS[why](old)), Refusal.LOG_WENT_BACK)
    assert finish(federation, offer) == "Released"


def test_a_restarted_node_still_asks_for_the_log_it_saw(federation):
    assert federation.round()
    federation.agents = [federation.agent(node) for node in range(4)]
    federation.prepare()
    offer = federation.open()
    forked = federation.alter(offer, checkpoint=Checkpoint(99, bytes(32)))
    refused_by(federation, forked, Refusal.LOG_WENT_BACK)
    assert finish(federation, offer) == "Released"


@pytest.mark.parametrize("wrong", [{"weight": 17}, {"weight": -1}, {"counters": ()}, {"counters": (1, 2, 3)}])
def test_an_update_that_does_not_fit_is_our_own_fault(federation, wrong):
    offer = federation.until("offer")
    update = federation.update(0)
    known = {"weight": update.weight, "counters": update.counters, **wrong}
    agent = federation.agents[0]
    changed = Update(update.model, update.model_digest, update.parameters, **known)
    agent.state = replace(agent.state, update=changed)
    with pytest.raises(CallerFault):
        agent.receive(offer[0][1], federation.consistency(0))
    assert agent.state.phase.value == "Ready"


def test_the_enclave_offers_no_model_that_its_policy_does_not_list(federation):
    federation.prepare()
    with pytest.raises(PolicyRefusal) as caught:
        federation.session.open("other")
    assert caught.value.code is Refusal.MODEL_REJECTED
    assert federation.session.state is None


@pytest.mark.parametrize(
    ("measures", "accepted"),
    [
        ((), False),
        ((Measure("seccomp", False),), False),
        ((Measure("no-network", True),), False),
        ((Measure("no-network", True), Measure("seccomp", True)), True),
    ],
    ids=["none", "not enforced", "another", "enforced"],
)
def test_a_measure_that_the_policy_asks_for_must_be_enforced(tmp_path, measures, accepted):
    parties = make_parties(4)
    evidence = replace(parties.policy.evidence, measures=("seccomp",))
    parties.policy = replace(parties.policy, evidence=evidence)
    parties.signed = sign_policy(parties.governor, parties.policy)
    federation = Play(tmp_path, 4, parties=parties)
    agent, claims = federation.agents[0], federation.session.instance.claims
    attester = Attester(parties.root, MEASUREMENT, measures)
    document = attester.attest(claims, agent.challenge(), NOW)
    if accepted:
        assert agent.appraise(document).measures == measures
        return
    with pytest.raises(PeerFault, match="isolation: not enforced: seccomp") as caught:
        agent.appraise(document)
    assert (caught.value.code, caught.value.culprit) == (Refusal.EVIDENCE_REJECTED, "enclave")
