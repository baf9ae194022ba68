"""A running enclave follows a newer policy that its host hands over, or stays as it was, and never in between."""

from dataclasses import replace

import pytest
from tests.enclave.adopting import (
    GONE,
    SECOND,
    Following,
    adopt,
    entries,
    events,
    revoking,
    with_second_model,
)
from tests.enclave.conftest import Inline
from tests.enclave.hosting import PHASES, Client, RefusedQuestion, now, resigned
from tests.playground import MODEL, Parties, entropy, parse, sign_policy

from crimson_protocol.errors import PeerFault
from crimson_protocol.events import Reported
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import BoxKey, DualKey, IdentityKey
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire import link
from crimson_protocol.wire.messages.endorse import Endorse

REST = tuple(range(GONE))


@pytest.fixture
def hosted(tmp_path, parties: Parties, inline: Inline) -> Following:
    return Following(tmp_path / "nodes", parties, lambda: Client(inline.home / f"{inline.starts}.sock"))


@pytest.fixture
def client(inline: Inline, hosted: Following) -> Client:
    inline.serve()
    return hosted.client()


def restarted(inline: Inline, hosted: Following) -> Client:
    """The enclave after a crash, with the home that it first had."""
    inline.crash()
    inline.serve()
    return hosted.client()


def test_a_newer_policy_is_followed_in_a_new_epoch_that_nodes_must_vouch_for(
    hosted: Following, client: Client
):
    hosted.prepare(client)
    before = client.status()
    assert (before.epoch, before.endorsed) == (1, (*REST, GONE))
    newer = revoking(hosted.parties)
    status = adopt(client, newer)
    assert (status.epoch, status.endorsed, status.phase) == (2, (), "Unendorsed")
    assert status.policy == newer.policy.digest() != before.policy
    assert status.claims_digest != before.claims_digest and status.instance != before.instance
    found = [(event.kind, event.digest, event.culprit, event.code) for event in events(client)]
    digest = newer.policy.digest()
    assert found[-3:] == [
        ("boot", digest, None, None),
        ("policy", digest, None, None),
        ("node", digest, f"site-{GONE}", "revoked"),
    ]
    # Its evidence names the policy: a node that follows another does not take it.
    evidence = client.ask(link.Attest(hosted.agents[0].challenge())).evidence
    with pytest.raises(PeerFault) as refused:
        hosted.agents[0].appraise(evidence)
    assert refused.value.code is Refusal.EVIDENCE_REJECTED
    with pytest.raises(RefusedQuestion, match="not-endorsed"):
        client.open(1)
    hosted.follow(newer)
    assert hosted.round(client).phase == "Released"


def test_the_log_says_what_became_of_each_node(hosted: Following, client: Client):
    draw, parties = entropy("newcomer"), hosted.parties
    key, box = IdentityKey.fresh(draw), BoxKey.fresh(draw)
    newcomer = replace(parties.policy.roster[0], node="new", organisation="new", identity_key=key.public)
    roster = [*entries(parties, 1, status="suspended"), replace(newcomer, encryption_key=box.public)]
    roster[2] = replace(roster[2], identity_key=IdentityKey.fresh(draw).public)
    adopt(client, resigned(parties, serial=2, roster=tuple(roster)))
    found = [(event.culprit, event.code) for event in events(client) if event.kind == "node"][-3:]
    assert found == [("site-1", "suspended"), ("site-2", "key-rotated"), ("new", "listed")]


@pytest.mark.parametrize("phase", PHASES[:3])
def test_a_revocation_before_the_verdict_takes_effect_in_the_next_attempt(
    inline: Inline, hosted: Following, client: Client, phase: str
):
    hosted.until(client, phase)
    newer = revoking(hosted.parties)
    status = adopt(client, newer)
    assert (status.phase, status.code, status.again) == ("Lost", "restarted", True)
    hosted.recover(client)
    hosted.follow(newer)
    assert hosted.round(client).places == (link.Place(MODEL, 1, 2),)
    assert [set(accepted) for _, accepted in inline.opened] == [set(REST)]


def test_a_revocation_after_the_first_confirm_takes_effect_in_the_next_round(
    inline: Inline, hosted: Following, client: Client
):
    """A verdict binds: opening another set of the same vectors would show the difference."""
    hosted.until(client, "Submitting")
    newer, said = revoking(hosted.parties), client.close_phase("Submitting")
    before = hosted.parties.policy.digest()
    for phase in PHASES[3:]:
        for heard in (False, True):
            if heard:
                hosted.deliver(client, said)
            with pytest.raises(RefusedQuestion, match="wrong-phase"):
                adopt(client, newer)
            assert (client.status().phase, client.status().policy) == (phase, before)
        said = client.close_phase(phase)
    assert client.status().phase == "Released"
    hosted.deliver(client, said)
    hosted.releases[1] = said[0][1]
    assert set(inline.opened[0][1]) == {*REST, GONE}
    adopt(client, newer)
    hosted.follow(newer)
    assert hosted.round(client).places == (link.Place(MODEL, 2, 1),)
    assert set(inline.opened[1][1]) == set(REST)


def test_the_same_policy_vouched_for_anew_disturbs_nothing(inline: Inline, hosted: Following, client: Client):
    hosted.until(client, "Sharing")
    before = client.status()
    again = replace(hosted.parties, signed=sign_policy(hosted.parties.governor, hosted.policy, version=2))
    for _ in range(2):
        assert replace(adopt(client, again), log_size=before.log_size) == before
    for phase in PHASES[1:]:
        hosted.deliver(client, client.close_phase(phase))
    assert client.status().phase == "Released"
    with pytest.raises(RefusedQuestion, match="policy-went-back"):
        adopt(client, hosted.parties)
    # The old home is behind: the state has the newer bundle.
    client = restarted(inline, hosted)
    with pytest.raises(RefusedQuestion, match="policy-went-back"):
        adopt(client, hosted.parties)


def test_a_restart_with_the_old_home_stays_with_the_policy_adopted(
    inline: Inline, hosted: Following, client: Client
):
    newer = revoking(hosted.parties)
    adopt(client, newer)
    log = client.leaves()
    client = restarted(inline, hosted)
    status = client.status()
    assert (status.epoch, status.policy) == (3, newer.policy.digest())
    assert [event.kind for event in events(client)[len(log) :]] == ["boot"]
    with pytest.raises(RefusedQuestion, match="policy-went-back"):
        adopt(client, hosted.parties)
    hosted.follow(newer)
    assert hosted.round(client).phase == "Released"


def test_the_artifact_of_a_new_model_survives_a_restart(inline: Inline, hosted: Following, client: Client):
    newer, artifact = with_second_model(hosted.parties)
    adopt(client, newer, artifact)
    client = restarted(inline, hosted)
    hosted.follow(newer)
    hosted.prepare(client)
    client.ask(link.Open(SECOND, 1, 1))
    offer = parse(client.said[0][1])
    assert (offer.model, offer.model_digest) == (SECOND, model_digest(artifact))


@pytest.mark.parametrize("offered", [(), (b"another artifact",)])
def test_a_new_model_without_its_artifact_is_refused(hosted: Following, client: Client, offered):
    newer, artifact = with_second_model(hosted.parties)
    before = client.status()
    with pytest.raises(RefusedQuestion, match="model-rejected"):
        adopt(client, newer, *offered)
    assert client.status() == before
    assert adopt(client, newer, *offered, artifact).policy == newer.policy.digest()


REFUSED = {
    "another federation": (lambda parties: {"federation": "another"}, "policy-rejected"),
    "an entry moved": (
        lambda parties: {"roster": (*parties.policy.roster[1::-1], *parties.policy.roster[2:])},
        "policy-rejected",
    ),
    "an entry removed": (lambda parties: {"roster": parties.policy.roster[:-1]}, "policy-rejected"),
    "an entry of another organisation": (
        lambda parties: {"roster": entries(parties, 0, organisation="other")},
        "policy-rejected",
    ),
    "a revoked node back": (
        lambda parties: {"roster": entries(parties, GONE, status="active")},
        "policy-rejected",
    ),
    "another initial artifact": (
        lambda parties: {"models": (replace(parties.policy.models[0], initial_digest=bytes(32)),)},
        "policy-rejected",
    ),
    "an earlier serial": (lambda parties: {"serial": 1}, "policy-went-back"),
    "a second policy of the serial": (lambda parties: {"serial": 2, "operators": ()}, "policy-rejected"),
    "an end in the past": (lambda parties: {"expires": now() - 1}, "expired"),
    "an unsound one": (
        lambda parties: {
            "roster": entries(parties, 1, encryption_key=parties.policy.roster[0].encryption_key)
        },
        "unsound-policy",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_policy_that_is_refused_changes_nothing(
    inline: Inline, hosted: Following, client: Client, name: str
):
    make, code = REFUSED[name]
    followed = revoking(hosted.parties)
    adopt(client, followed)
    hosted.follow(followed)
    hosted.until(client, "Sharing")
    before, log, state = client.status(), client.leaves(), (inline.state / "state").read_bytes()
    changes = {"serial": 3, **make(followed)}
    if name == "a second policy of the serial":
        changes["expires"] = followed.policy.expires + 1
    with pytest.raises(RefusedQuestion, match=code):
        adopt(client, resigned(followed, **changes))
    assert (client.status(), client.leaves(), (inline.state / "state").read_bytes()) == (before, log, state)
    for phase in PHASES[1:]:
        hosted.deliver(client, client.close_phase(phase))
    assert client.status().phase == "Released"


def test_another_governors_policy_is_refused(hosted: Following, client: Client):
    policy = replace(hosted.policy, serial=2)
    forged = sign_policy(DualKey.fresh(entropy("mallory")), policy)
    before = client.status()
    with pytest.raises(RefusedQuestion, match="policy-rejected"):
        client.ask(link.Adopt(forged, ()))
    assert client.status() == before


def test_receipts_from_before_verify_afterwards(hosted: Following, client: Client):
    hosted.round(client)
    newer = revoking(hosted.parties)
    adopt(client, newer)
    hosted.follow(newer)
    agent = hosted.agents[0]
    appraisal = agent.appraise(client.ask(link.Attest(agent.challenge())).evidence)
    receipt = verify_receipt(parse(hosted.releases[1]).receipt, appraisal.receipt_key)
    assert receipt.round == 1
    # Said again, the release has the same receipt; who may open its artifact is the newer policy's business.
    [(_, again)] = client.close_phase("Unmasking")
    assert parse(again).receipt == parse(hosted.releases[1]).receipt


def test_a_revoked_node_is_not_heard(hosted: Following, client: Client):
    hosted.until(client, "Submitting")
    newer = revoking(hosted.parties)
    adopt(client, newer)
    hosted.follow(newer)
    hosted.begin(client)
    status = client.status()
    claims = (status.epoch, status.claims_digest)
    endorsement = Endorse(hosted.policy.federation, GONE, *claims)
    letters = [sign_message(hosted.parties.identities[GONE], GONE, endorsement), hosted.submitted[GONE]]
    for letter in letters:
        heard = client.ask(link.Deliver(letter, None))
        # Not even its fault: that it spoke cannot be told from a replay by the relay.
        assert heard.faults == (link.FaultFound("gateway", "unknown-node"),)
    assert client.status().endorsed == REST
    assert client.status().waiting == REST


def test_reports_stand_in_the_log_once_however_often_they_are_told(
    inline: Inline, hosted: Following, client: Client
):
    reports = [
        Reported(number, "node-approved", f"site-{number}", "operator", 1_800_000_000, None)
        for number in (1, 2, 5)
    ]

    def logged() -> list[int]:
        return [event.reported.number for event in events(client) if event.reported is not None]

    assert client.ask(link.Tell(tuple(reports[:2]))).reports == 2
    assert client.ask(link.Tell(tuple(reports[:2]))).reports == 2
    assert client.ask(link.Tell(tuple(reports))).reports == 5
    assert logged() == [1, 2, 5]
    client = restarted(inline, hosted)
    assert client.status().reports == 5
    assert adopt(client, revoking(hosted.parties)).reports == 5
    client.ask(link.Tell(tuple(reports)))
    assert logged() == [1, 2, 5]
