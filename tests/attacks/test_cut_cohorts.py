"""Dropout manipulation: whoever withholds envelopes, or claims nodes dead, isolates nobody (attack 8).

Corrupt nodes are a share of the *roster*. A broken enclave chooses who is in a round, so it may keep all of
them and few others: thresholds and floors must hold for that choice too.
"""

from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import finish, nothing_opened, others, refusals, refused_by, verdict
from tests.playground import default_numbers, lanes, make_parties, parse

from crimson_enclave.state import Aborted, Advertising
from crimson_protocol.agreement import agree, filled, open_floors
from crimson_protocol.cohort import corrupt_count, dense_threshold, numbers, quorum
from crimson_protocol.errors import PeerFault
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.messages.share import Roster


def short_roster(federation, chosen):
    """The roster that a broken enclave composes of those advertisements alone."""
    state = federation.session.state
    assert isinstance(state, Advertising)
    envelopes = tuple(state.advertised[node].envelope for node in chosen)
    return [(None, federation.forge(Roster(state.terms.offer_digest, envelopes, state.secrets.graph_nonce)))]


def test_a_roster_in_which_the_corrupt_reach_the_threshold_is_refused(play):
    """Of 25 sites 5 may be corrupt. Shown 8 of them, all 5 among these, t would be 5: they open everything."""
    federation = play(25)
    federation.deliver(federation.until("offer"))
    chosen = list(range(8))
    assert federation.numbers.min_cohort == 8
    corrupt = corrupt_count(25, federation.numbers.corrupt)
    assert dense_threshold(8, corrupt_count(8, federation.numbers.corrupt)) <= corrupt
    refused_by(federation, short_roster(federation, chosen), Refusal.COHORT_TOO_SMALL, chosen)
    nothing_opened(federation)


def test_the_enclave_itself_starts_no_round_below_a_quorum(play):
    federation = play(25)
    federation.deliver(federation.until("offer"), range(15))
    federation.deliver(federation.close())
    state = federation.session.state
    assert isinstance(state, Aborted)
    assert (state.code, state.again, state.culprits) == (Refusal.COHORT_TOO_SMALL, True, ())


@pytest.mark.parametrize("corrupt", [(1, 10), (1, 5), (1, 4), (1, 3)])
def test_in_every_round_that_reaches_a_quorum_the_threshold_is_above_the_rosters_corrupt(corrupt):
    for active in range(4, 129):
        bad = corrupt_count(active, corrupt)
        least = max(quorum(active, corrupt), bad + 3)
        for present in range(least, active + 1):
            assert numbers(present, active, corrupt, (1, 10)).threshold > bad


def bucketed(play, nodes=40, size=20):
    """Two buckets of 20; an offer that everybody answered."""
    changes = {"bucket_size": size, "corrupt": (1, 5), "min_cohort": 11}
    federation = play(nodes, numbers=default_numbers(nodes, **changes))
    federation.deliver(federation.until("offer"))
    return federation


def test_a_bucket_cut_down_to_its_corrupt_nodes_and_one_more_is_refused(play):
    """c_b = 4 of a bucket of 20. Shown 5 of it, the floor must stay 7, or 4 corrupt single out the fifth."""
    federation = bucketed(play)
    first, second = open_floors(federation.session.state.terms, range(40))
    roster = short_roster(federation, sorted([*first, *second[:5]]))
    federation.deliver(roster, [*first, *second[:5]], upload=False)
    agreement = federation.agents[second[0]].state.agreement
    assert agreement.open_floor(second[:5]) == 7
    assert filled(agreement.terms, [*first, *second[:5]]) == set(first)


def test_floors_count_the_whole_bucket_whoever_is_present(play):
    federation = bucketed(play, 12, 6)
    terms = federation.session.state.terms
    whole = open_floors(terms, range(12))
    assert set(whole.values()) == {4}
    for bucket in whole:
        for present in range(1, 7):
            cut = bucket[:present]
            assert open_floors(terms, cut) == {cut: 4}
    assert open_floors(terms, []) == {}


def test_a_remainder_bucket_keeps_its_own_floor():
    """Eleven sites in buckets of 4 and 7: only a *declared* small size lowers a floor, not the knob as such."""
    changes = {"bucket_size": 4, "corrupt": (1, 3), "min_cohort": 6}
    policy = make_parties(11, default_numbers(11, **changes)).policy
    terms = type("Terms", (), {"policy": policy})()
    terms.offer = type("Offer", (), {"numbers": policy.models[0].numbers, "model": "model"})()
    floors = {len(bucket): floor for bucket, floor in open_floors(terms, range(11)).items()}
    assert floors == {4: 4, 7: 5}


def test_a_declared_small_bucket_opens_at_its_size(play):
    federation = play(7, numbers=default_numbers(7, bucket_size=2))
    assert federation.round(after_share=[0])
    _, accepted = federation.opened[-1]
    assert np.array_equal(lanes(federation), federation.plain_sum(accepted))


@pytest.mark.parametrize("phase", ["roster", "shared"])
def test_withheld_envelopes_end_the_attempt_before_anything_is_masked_for_too_few(play, phase):
    """The relay lets three of six through: fewer than min_cohort and fewer than the threshold."""
    federation = play(6)
    said = federation.until("offer")
    if phase == "shared":
        federation.deliver(said)
        said = federation.close()
    federation.deliver(said, [0, 1, 2])
    federation.deliver(federation.close())
    state = federation.session.state
    assert isinstance(state, Aborted)
    assert (state.code, state.again) == (Refusal.COHORT_TOO_SMALL, True)
    assert not federation.encoded
    nothing_opened(federation)
    federation.prepare()
    assert finish(federation, federation.open(again=True)) == "Released"


def test_withheld_vectors_end_the_attempt_and_a_new_one_is_exact(play):
    federation = play(6)
    federation.deliver(federation.until("shared"), [0, 1, 2])
    federation.deliver(federation.close())
    state = federation.session.state
    assert (state.code, state.again) == (Refusal.COHORT_TOO_SMALL, True)
    nothing_opened(federation)
    federation.prepare()
    assert finish(federation, federation.open(again=True)) == "Released"
    assert np.array_equal(lanes(federation), federation.plain_sum(range(6)))


@pytest.mark.parametrize("nodes, least", [(6, 4), (7, 4)])
def test_a_verdict_that_claims_too_many_dead_is_refused(play, nodes, least):
    federation = play(nodes)
    said = federation.until("frozen")
    federation.deliver(said[:1])
    forged = verdict(federation, range(least - 1), said)
    refused_by(federation, forged[1:], Refusal.COHORT_TOO_SMALL)
    nothing_opened(federation)


def test_each_site_reads_in_its_receipt_who_survived(play):
    """Whoever the relay isolated can see it and dispute it."""
    federation = play(6)
    said = federation.until("shared")
    for phase in range(4):
        federation.deliver(said, others(federation, 2))
        said = federation.close() if phase < 3 else said
    for node in others(federation, 2):
        receipt = verify_receipt(
            federation.agents[node].state.receipt, federation.session.instance.signing.public
        )
        assert [item.node for item in receipt.accepted] == others(federation, 2)
        assert receipt.dropped == (2,)


def test_a_set_that_lacks_most_of_the_dealers_is_refused(play):
    federation = play(6)
    said = federation.until("shared")
    altered = []
    for recipient, data in said:
        message = parse(data)
        kept = [recipient, *others(federation, recipient)[:2]]
        dealers = tuple(dealer for dealer in message.dealers if dealer.node in kept)
        altered.append((recipient, federation.forge(replace(message, dealers=dealers))))
    found = refusals(federation, altered)
    assert {(fault.code, fault.culprit) for fault in found.values()} == {
        (Refusal.COHORT_TOO_SMALL, "enclave")
    }
    assert len(found) == 6
    nothing_opened(federation)


def test_one_organisation_twice_is_refused_even_under_two_names(play):
    """load_policy refuses such a roster; the agreement does not rely on that."""
    federation = play(6)
    federation.deliver(federation.until("offer"))
    state = federation.session.state
    roster = tuple(replace(entry, organisation="one") for entry in state.terms.policy.roster)
    terms = replace(state.terms, policy=replace(state.terms.policy, roster=roster))
    envelopes = {node: known.envelope for node, known in state.advertised.items()}
    messages = {node: known.message for node, known in state.advertised.items()}
    with pytest.raises(PeerFault) as caught:
        agree(terms, envelopes, messages, state.secrets.graph_nonce)
    assert (caught.value.code, caught.value.culprit) == (Refusal.ORGANISATION_TWICE, "enclave")
