"""What the enclave does when a phase from Submit on is closed: judge, charge, release; and what it then says."""

import hashlib
from typing import TYPE_CHECKING

from crimson_enclave.access import release_decided
from crimson_enclave.publish import publish
from crimson_enclave.rounds.confirm import close_confirm
from crimson_enclave.rounds.release import ReleaseFacts, release
from crimson_enclave.rounds.sketch import close_sketch
from crimson_enclave.rounds.submit import close_submit
from crimson_enclave.state import Aborted, Confirming, Released, Sketching, Submitting, Unmasking
from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.exposure import sketched_round
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import Secret

if TYPE_CHECKING:
    from crimson_enclave.session import Outgoing, Session


def submit_closed(session: "Session", state: Submitting) -> "Outgoing":
    """Steps 7 and 8: freeze, and judge unless sketches are asked for first."""
    terms = state.dealt.agreement.terms
    offer, rules = terms.offer, terms.rules
    # 8.5: governors may free one round of a model from its earlier verdict, in the policy itself.
    freed = session.policy.reopened(offer.model, offer.round, offer.model_digest)
    earlier = None if freed else session.bound.on(offer)
    only, proofs = (earlier.cohort, earlier.proofs) if earlier else (None, ())
    if sketched_round(rules, offer.round):
        # Also where the cohort may not change: it was filtered when it was first shown, but these vectors were not.
        session.state, messages = close_submit(state, only, proofs, seed=session.entropy(32))
        if isinstance(session.state, Sketching):
            # 7.2: exposure is counted before the seed leaves.
            session.accounts = session.accounts.shown(rules)
    elif only is not None:
        session.state, messages = close_submit(state, only, proofs)
    else:
        suspected = session.accounts.suspected.get(offer.model, frozenset())
        session.state, messages = close_submit(state, suspected=suspected)
    if isinstance(session.state, Confirming):
        return _shown(session, session.state, list(messages or ()))
    return session.said("frozen", [(None, message) for message in messages or ()])


def sketch_closed(session: "Session", state: Sketching) -> "Outgoing":
    """Step 8 after sketches: log who was flagged, and judge."""
    terms = state.frozen.dealt.agreement.terms
    model, now = terms.offer.model, session.clock()
    memory = session.accounts.memory(model)
    session.state, messages, flagged = close_sketch(state, memory)
    for found in flagged:
        session.log.flag(terms, (found.node,), [session.policy.name(found.node)], f"sketch-{found.test}", now)
    named = frozenset(found.node for found in flagged)
    # Who was flagged before and shows no sketch now stays suspected: only passing clears a node.
    suspected = session.accounts.suspected.get(model, frozenset()) - frozenset(state.sketched.values)
    session.accounts = session.accounts.suspecting(model, suspected | named)
    if isinstance(session.state, Confirming):
        return _shown(session, session.state, list(messages))
    return session.said("verdict", [])


def _shown(session: "Session", state: Confirming, messages: list[bytes]) -> "Outgoing":
    """8.6: the access rules let such a result out, asked before anybody can confirm it."""
    terms = state.judged.agreement.terms
    decided = release_decided(session.policy, state.judged)
    session.log.decision(
        decided, terms.offer.model, (terms.offer.round, terms.offer.attempt), session.clock()
    )
    if not decided.allowed:
        session.state = Aborted(terms, Refusal.ACCESS_DENIED, (), again=False)
        return session.said("frozen", [])
    session.bound.shown(state.judged)
    return session.said("verdict" if state.sketched else "frozen", [(None, message) for message in messages])


def confirm_closed(session: "Session", state: Confirming) -> "Outgoing":
    """Step 10: charge, then ask for the opening. What is charged stays charged, whatever becomes of the round."""
    terms = state.judged.agreement.terms
    session.state, request = close_confirm(state)
    if request is None:
        return session.said("unmasking", [])
    place = terms.offer.round, terms.offer.attempt
    try:
        session.accounts, session.charge = session.accounts.charged(terms.rules, place)
    except PolicyRefusal as refusal:
        session.state = Aborted(terms, refusal.code, (), again=False)
        return session.said("unmasking", [])
    if session.charge is not None:
        session.log.charge(terms, session.accounts.ledger.charges[-1].to_bytes(), session.clock())
    return session.said("unmasking", [(None, request)])


def unmask_closed(session: "Session", state: Unmasking) -> "Outgoing":
    """Steps 12 to 14: open, check, aggregate; log leaf, next model and sealed output as one record; then say it."""
    judged, offer = state.judged, state.judged.agreement.terms.offer
    accounts = session.accounts
    facts = ReleaseFacts(
        session.instance.attester.isolated,
        session.previous,
        session.clock(),
        session.charge,
        accounts.sketched.get(offer.model, 0),
    )
    base, memory = session.base(offer.model), accounts.memory(offer.model)
    session.state = release(state, base, session.spool, facts, memory, session.entropy, session.observer)
    if isinstance(session.state, Aborted):
        session.bound.lost(judged, session.state, session.policy.name, len(session.policy.roster))
        return session.said("release", [])
    # The sums go before the result is copied, sealed and signed.
    del state
    return _published(session, session.state)


def _published(session: "Session", released: Released) -> "Outgoing":
    terms = released.judged.agreement.terms
    model = terms.offer.model
    session.flag(terms, released.flagged)
    content, signing = Secret.fresh(session.entropy), session.instance.signing
    receipt, message = publish(released, session.policy, signing, session.log, content, session.entropy)
    session.receipts.append(receipt)
    session.previous = hashlib.sha256(receipt).digest()
    session.published[model], session.released = message, model
    session.contents[model] = content
    if terms.rules.numbers.parameters:
        session.artifacts[model] = released.artifact
    session.accounts = session.accounts.remembering(model, released.memory)
    # After a crash the same bytes go out.
    session.keep(session)
    return iter([(None, message)])
