"""A dealer whose shares rebuild something else is named with a proof that holds anywhere; an honest one never is."""

from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import as_node, faults_of, finish, nothing_opened, others, stranger, turn
from tests.playground import lanes, parse

import crimson_node.rounds.share as share_step
from crimson_enclave.dispatch import UntrustedFrame
from crimson_enclave.opening import _proof
from crimson_enclave.state import terms_of
from crimson_protocol.errors import PeerFault
from crimson_protocol.faults import Attempt, BadDealerProof, convict
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import RoundRoot, Secret
from crimson_protocol.secret.shamir import split

DEALER = 3
SELF, ROOT = 0, 1


def deals(kind: int, wrong):
    """A `split` that deals wrongly in its first call (b) or its second (R)."""
    calls = []

    def patched(secret, threshold, xs, entropy):
        calls.append(xs)
        honest = split(secret, threshold, xs, entropy)
        return wrong(honest, threshold, xs, entropy) if len(calls) - 1 == kind else honest

    return patched


def other_secret(honest, threshold, xs, entropy):
    return split(bytes(32), threshold, xs, entropy)


def outside_the_field(honest, threshold, xs, entropy):
    return dict.fromkeys(xs, b"\xff" * 32)


def too_high_a_degree(honest, threshold, xs, entropy):
    return {x: share if x > 2 else bytes(32) for x, share in honest.items()}


def attempt(federation) -> Attempt:
    state = federation.judged
    return Attempt(state.agreement.terms.offer_digest, state.agreement.t0, state.agreement.cohort.threshold)


def play_bad(play, monkeypatch, kind, wrong):
    """A round with one bad dealer; it drops after Share where its R is to be opened."""
    federation = play(6)
    roster = federation.until("roster")
    with monkeypatch.context() as patched:
        turn(federation, roster, DEALER, lambda: patched.setattr(share_step, "split", deals(kind, wrong)))
    alive = others(federation, DEALER) if kind == ROOT else None
    said = federation.close()
    for _ in range(3):
        federation.deliver(said, alive)
        said = federation.close()
        federation.judged = getattr(federation.session.state, "judged", None) or federation.judged
    federation.said = said
    return federation


@pytest.mark.parametrize("kind", [SELF, ROOT])
@pytest.mark.parametrize("wrong", [other_secret, outside_the_field, too_high_a_degree])
def test_a_bad_dealer_loses_the_round_and_is_convicted(play, monkeypatch, kind, wrong):
    federation = play_bad(play, monkeypatch, kind, wrong)
    alive = others(federation, DEALER) if kind == ROOT else None
    federation.deliver(federation.said, alive)
    federation.close()
    state = federation.session.state
    assert (state.phase.value, state.code, state.culprits, state.again) == (
        "Aborted",
        Refusal.BAD_DEALER,
        (f"site-{DEALER}",),
        False,
    )
    assert (f"site-{DEALER}", Refusal.BAD_DEALER) in faults_of(federation)
    assert [convict(proof, federation.policy, attempt(federation)) for proof in state.proofs] == [DEALER]
    nothing_opened(federation)
    # Its next round on the model takes place without it.
    federation.prepare()
    assert finish(federation, federation.open()) == "Released"
    _, accepted = federation.opened[-1]
    assert accepted == tuple(others(federation, DEALER))
    assert federation.session.state.receipt.rejected == federation.session.state.receipt.dropped == ()
    assert np.array_equal(lanes(federation), federation.plain_sum(accepted))


def test_a_mask_key_that_does_not_follow_from_the_root_blames_its_owner_not_its_neighbours(play):
    """Boxes sealed to it open under no rebuilt key; those who sealed them did nothing wrong."""
    federation = play(6)
    offer = federation.until("offer")
    federation.deliver(offer, others(federation, DEALER))
    replies = federation.deliver(offer, [DEALER], upload=False)
    control = as_node(federation, DEALER, replace(parse(replies[DEALER].control), mask_key=stranger().public))
    agent = federation.agents[DEALER]
    agent.state = replace(agent.state, envelope=control)
    federation.session.receive(UntrustedFrame(control))
    federation.deliver(federation.close())
    assert finish(federation, federation.close(), others(federation, DEALER)) == "Aborted"
    state = federation.session.state
    assert (state.code, state.culprits) == (Refusal.BAD_DEALER, (f"site-{DEALER}",))
    terms = terms_of(state)
    t0 = parse(parse(federation.spool.shares[DEALER]).manifest).t0
    assert convict(state.proofs[0], federation.policy, Attempt(terms.offer_digest, t0, 4)) == DEALER
    nothing_opened(federation)


def test_a_pair_secret_that_does_not_follow_from_the_root_blames_its_sealer(play, monkeypatch):
    federation = play(6)
    roster = federation.until("roster")
    with monkeypatch.context() as patched:
        fixed = lambda *_: Secret(b"\x01" * 32)
        turn(federation, roster, DEALER, lambda: patched.setattr(RoundRoot, "pair_secret", fixed))
    assert finish(federation, federation.close(), others(federation, DEALER)) == "Aborted"
    state = federation.session.state
    assert (state.code, state.culprits) == (Refusal.BAD_DEALER, (f"site-{DEALER}",))
    nothing_opened(federation)


@pytest.fixture
def honest(play):
    """An honest round up to the opened shares, and what an enclave could put into a proof about site 3."""
    federation = play(6)
    federation.deliver(federation.until("request"))
    federation.judged = federation.session.state.judged
    return federation, federation.session.state


def refused(federation, proof: BadDealerProof | bytes) -> Refusal:
    data = proof if isinstance(proof, bytes) else proof.to_bytes()
    with pytest.raises(PeerFault) as caught:
        convict(data, federation.policy, attempt(federation))
    # A proof that does not hold is its maker's fault, never that of the node it names.
    assert caught.value.culprit is None
    return caught.value.code


def proof_about(state, which: str, holders: list[int]) -> BadDealerProof:
    return BadDealerProof.from_bytes(_proof(state, DEALER, which, holders), 1 << 18)


def test_no_honest_dealer_is_convicted_by_its_own_shares(honest):
    federation, state = honest
    assert refused(federation, proof_about(state, "self", [0, 1, 2, 3])) is Refusal.BAD_DEALER
    assert refused(federation, proof_about(state, "self", [2, 3, 4, 5])) is Refusal.BAD_DEALER


def test_no_honest_dealer_is_convicted_by_altered_foreign_few_or_repeated_shares(honest):
    federation, state = honest
    good = proof_about(state, "self", [0, 1, 2, 3])
    first, *rest = good.shares
    altered = replace(first, share=bytes(32))
    assert refused(federation, replace(good, shares=(altered, *rest))) is Refusal.BAD_COMMITMENT
    assert refused(federation, replace(good, secret="root")) is Refusal.BAD_COMMITMENT
    assert refused(federation, replace(good, shares=tuple(rest))) is Refusal.BAD_DEALER
    assert refused(federation, replace(good, shares=(rest[0], *rest))) is Refusal.BAD_DEALER
    more = proof_about(state, "self", [0, 1, 2, 3, 4])
    assert refused(federation, more) is Refusal.BAD_DEALER
    moved = replace(first, leaf=replace(first.leaf, recipient=5))
    assert refused(federation, replace(good, shares=(moved, *rest))) is Refusal.LOG_WENT_BACK


def test_no_honest_dealer_is_convicted_by_foreign_or_forged_papers(honest):
    federation, state = honest
    good = proof_about(state, "self", [0, 1, 2, 3])
    foreign = state.judged.agreement.envelopes[0]
    assert refused(federation, replace(good, advertisement=foreign)) is Refusal.BAD_DEALER
    assert refused(federation, replace(good, manifest=state.dealings[0].manifest)) is Refusal.BAD_DEALER
    assert refused(federation, replace(good, manifest=good.advertisement[:500])) is Refusal.MALFORMED
    forged = good.advertisement[:-1] + bytes([good.advertisement[-1] ^ 1])
    assert refused(federation, replace(good, advertisement=forged)) is Refusal.BAD_SIGNATURE
    assert refused(federation, b"\x80") is Refusal.MALFORMED


def test_a_proof_counts_for_its_own_attempt_alone(honest, play, monkeypatch):
    federation = play_bad(play, monkeypatch, SELF, other_secret)
    federation.deliver(federation.said)
    federation.close()
    (proof,) = federation.session.state.proofs
    right = attempt(federation)
    for other in (
        replace(right, offer_digest=bytes(32)),
        replace(right, t0=bytes(32)),
        replace(right, threshold=right.threshold + 1),
    ):
        with pytest.raises(PeerFault) as caught:
            convict(proof, federation.policy, other)
        assert (caught.value.code, caught.value.culprit) == (Refusal.BAD_DEALER, None)
    assert convict(proof, federation.policy, right) == DEALER
