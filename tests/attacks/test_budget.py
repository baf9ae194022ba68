"""A privacy budget that somebody wants to spend twice: an enclave that forgets, a node that is asked once too often."""

from dataclasses import replace

import numpy as np
import pytest
from tests.playground import MODEL, Play, private_parties, sign_policy

from crimson_enclave.accounts import Accounts
from crimson_enclave.aggregation.private import draw
from crimson_enclave.opening import rebuild
from crimson_enclave.privacy.accountant import Event, epsilon
from crimson_node.seen import ReleaseCharged
from crimson_protocol import events as log_events
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.errors import CallerFault, PolicyRefusal
from crimson_protocol.policy.privacy import multiplier_micro, sigma_micro
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.receipts import sign_receipt

NODES, RELEASES = 6, 3


@pytest.fixture
def federation(play) -> Play:
    return made(play)


def made(play, **changes: object) -> Play:
    parties = private_parties(NODES, RELEASES, **changes)
    return play(NODES, parties=parties, numbers=parties.policy.rules(MODEL).numbers)


def receipts(federation: Play) -> list:
    key = federation.session.instance.signing.public
    return [verify_receipt(data, key) for data in federation.session.receipts]


def kinds(federation: Play) -> list[str]:
    return [log_events.Event.from_bytes(leaf, 2048).kind for leaf in federation.session.log.leaves]


def test_every_release_is_charged_and_its_receipt_says_what_it_cost(federation):
    for _ in range(RELEASES):
        assert federation.round()
    charges = [receipt.privacy for receipt in receipts(federation)]
    event = Event(multiplier_micro(federation.policy.rules(MODEL)), 1_000_000)
    # Everybody takes part, so the closed form of Gaussian privacy holds.
    expected = [-(-epsilon({event: count}, 1e-5) * 1000 // 1) for count in range(1, RELEASES + 1)]
    assert [charge.after_thousandths for charge in charges] == expected and expected[-1] <= 4000
    assert [charge.before_thousandths for charge in charges] == [0, *expected[:-1]]
    assert [(charge.unit, charge.adjacency, charge.releases) for charge in charges] == [
        ("node", "zero-out", count) for count in range(1, RELEASES + 1)
    ]


def test_over_budget_no_round_opens(federation):
    for _ in range(RELEASES):
        assert federation.round()
    federation.prepare()
    with pytest.raises(PolicyRefusal) as caught:
        federation.open()
    assert caught.value.code is Refusal.BUDGET_EXHAUSTED
    assert federation.session.places[MODEL] == (RELEASES, 1)


def test_an_enclave_that_forgot_its_ledger_finds_no_node(federation):
    """Each node counts for itself, whatever the enclave says that is left."""
    for _ in range(RELEASES):
        assert federation.round()
    federation.session.accounts = Accounts()
    said = federation.until("offer")
    federation.deliver(said)
    assert {fault.code for fault in federation.refused.values()} == {Refusal.BUDGET_EXHAUSTED}
    assert len(federation.refused) == NODES


def test_a_round_is_charged_before_shares_are_asked_for(federation):
    said = federation.until("frozen")
    federation.deliver(said)
    assert federation.session.accounts.ledger.charges == ()
    kept = []
    federation.session.keep = lambda session: kept.append(session.accounts.ledger.charged(MODEL))
    federation.close()
    assert kept == [1] and kinds(federation)[-2:] == ["charge", "unmasking"]


def test_a_lost_round_stays_charged(federation):
    """Nobody opens a share: the verdict was confirmed, so what could have been released counts as released."""
    said = federation.until("request")
    federation.deliver(said, [0])
    federation.close()
    state = federation.session.state
    assert (state.code, state.again) == (Refusal.TOO_FEW_SHARES, False)
    assert federation.session.accounts.ledger.charged(MODEL) == 1
    assert federation.agents[0].seen.charges == {MODEL: 1} and federation.agents[1].seen.charges == {}


def test_an_attempt_that_nobody_confirmed_costs_nothing(federation):
    federation.until("frozen")
    federation.close()
    assert federation.session.state.again and federation.session.accounts.ledger.charges == ()


def test_a_node_charges_itself_before_its_shares_leave(federation, monkeypatch):
    said = federation.until("request")
    agent, order = federation.agents[3], []
    append = agent._journal.append
    monkeypatch.setattr(
        agent._journal, "append", lambda *entry: (order.append(type(entry[0])), append(*entry))
    )
    assert agent.receive(said[0][1]) is not None and order == [ReleaseCharged]
    # A second request gets the same bytes and costs nothing more.
    assert agent.receive(said[0][1]) is not None and agent.seen.charges == {MODEL: 1}


def test_a_node_remembers_over_a_restart(federation):
    assert federation.round()
    assert federation.agent(2).seen.charges == {MODEL: 1}


CHARGES = {
    "nothing": lambda charge: None,
    "another unit": lambda charge: replace(charge, unit="record"),
    "another neighbour": lambda charge: replace(charge, adjacency="add-remove"),
    "another delta": lambda charge: replace(charge, delta_exponent=4),
    "more than the budget": lambda charge: replace(charge, after_thousandths=4001),
    "less than before": lambda charge: replace(charge, before_thousandths=charge.after_thousandths + 1),
    "fewer releases than the node counted": lambda charge: replace(charge, releases=0),
}


@pytest.mark.parametrize("name", CHARGES)
def test_a_receipt_that_tells_another_charge_is_refused(federation, monkeypatch, name):
    def lie(key, receipt):
        return sign_receipt(key, replace(receipt, privacy=CHARGES[name](receipt.privacy)))

    said = federation.until("request")
    federation.deliver(said)
    monkeypatch.setattr("crimson_enclave.publish.sign_receipt", lie)
    federation.deliver(federation.close())
    assert {fault.code for fault in federation.refused.values()} == {Refusal.RECEIPT_REJECTED}
    assert len(federation.refused) == NODES


def test_a_charge_where_there_is_no_budget_is_refused(play, monkeypatch):
    federation = play(NODES)
    donor = made(play)
    assert donor.round()
    charge = receipts(donor)[0].privacy
    monkeypatch.setattr(
        "crimson_enclave.publish.sign_receipt",
        lambda key, receipt: sign_receipt(key, replace(receipt, privacy=charge)),
    )
    said = federation.until("request")
    federation.deliver(said)
    federation.deliver(federation.close())
    assert {fault.code for fault in federation.refused.values()} == {Refusal.RECEIPT_REJECTED}


def test_promised_releases_that_cost_more_than_the_budget_start_no_enclave(play):
    """U21: the policy promises ten where its noise affords three."""
    parties = private_parties(NODES, RELEASES)
    rules = parties.policy.rules(MODEL)
    promised = replace(rules, privacy=replace(rules.privacy, releases=10))
    parties = replace(parties, policy=replace(parties.policy, models=(promised,)))
    parties = replace(parties, signed=sign_policy(parties.governor, parties.policy))
    with pytest.raises(PolicyRefusal) as caught:
        play(NODES, parties=parties, numbers=promised.numbers)
    assert caught.value.code is Refusal.UNSOUND_POLICY and "10 releases cost" in caught.value.text


def released(federation: Play) -> np.ndarray:
    return Artifact.from_bytes(federation.session.artifacts[MODEL], MAX_ARTIFACT).vector()


def test_what_is_released_is_the_sum_and_noise_of_the_promised_size(play):
    """The witness knows the exact sum; the rest is noise: of all 2,000 lanes, within four standard errors."""
    federation = made(play, knobs={"parameters": 2000})
    assert federation.round()
    rules = federation.policy.rules(MODEL)
    unit = rules.numbers.clip_micro / 1e6 / 2**rules.numbers.value_bits
    exact = federation.plain_sum(range(NODES))[:2000]
    noise = released(federation) * NODES / unit - exact
    sigma = sigma_micro(rules) / 1e6
    assert abs(noise.std() / sigma - 1) < 4 / np.sqrt(2 * 2000)
    assert abs(noise.mean()) < 4 * sigma / np.sqrt(2000)
    # Integers, but for the float32 of the artifact.
    assert np.abs(noise - np.rint(noise)).max() < 0.3


def test_noise_is_drawn_before_anything_is_opened(federation, monkeypatch):
    order = []
    monkeypatch.setattr(
        "crimson_enclave.rounds.release.draw", lambda *a: (order.append("noise"), draw(*a))[1]
    )
    monkeypatch.setattr(
        "crimson_enclave.rounds.release.rebuild", lambda *a: (order.append("open"), rebuild(*a))[1]
    )
    assert federation.round() and order == ["noise", "open"]


def test_private_updates_are_not_weighed(federation):
    federation.prepare()
    bad = replace(federation.update(0), weight=2)
    federation.agents[0].prepare(bad, federation.agents[0].state.appraisal)
    with pytest.raises(CallerFault, match="weight"):
        federation.agents[0].receive(federation.open()[0][1], federation.consistency(0))


def test_a_node_that_missed_a_release_takes_its_receipts_count(federation):
    """A relay that keeps the request from one node in turn gets no further than the promised number."""
    away = NODES - 1
    for _ in range(RELEASES):
        federation.prepare()
        said = federation.open()
        while federation.session.state.phase.value != "Released":
            silent = federation.session.state.phase.value in ("Unmasking", "Released")
            federation.deliver(said, set(range(NODES)) - ({away} if silent else set()))
            said = federation.close()
        federation.deliver(said, set(range(NODES)) - {away})
    assert federation.agents[away].seen.charges.get(MODEL, 0) == RELEASES - 1
    federation.prepare()
    assert {agent.seen.charges[MODEL] for agent in federation.agents} == {RELEASES}


@pytest.mark.parametrize("change", ["nothing", "record"])
def test_a_model_listed_anew_is_held_to_what_it_was_charged_for(federation, monkeypatch, change):
    """Continuity sees the policy before alone; the ledger remembers the model."""
    assert federation.round()
    rules = federation.policy.rules(MODEL)
    privacy = None if change == "nothing" else replace(rules.privacy, unit="record", charge="record")
    other = replace(federation.policy, models=(replace(rules, privacy=privacy),))
    with pytest.raises(PolicyRefusal, match=f"was charged per node and cannot be per {change}"):
        federation.session.accounts.refuse_other_units(other)
    # No session begins under such a policy.
    monkeypatch.setattr("crimson_enclave.session.refuse_broken_promises", lambda _: None)
    with pytest.raises(PolicyRefusal, match="was charged per node"):
        replace(federation.session, policy=other)
    federation.session.accounts.refuse_other_units(federation.policy)
    federation.session.accounts.refuse_other_units(replace(federation.policy, models=()))
