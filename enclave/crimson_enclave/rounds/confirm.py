"""Round 4, confirm: collect a quorum of signatures over V, then ask for the opening (steps 9 and 10)."""

from dataclasses import replace

from crimson_enclave.state import Aborted, Confirming, Unmasking
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.wire.messages.confirm import Confirm
from crimson_protocol.wire.messages.unmask import UnmaskRequest


def take_confirm(state: Confirming, envelope: bytes, message: Confirm) -> Confirming:
    """Step 9 at the enclave: a confirmation of this V. Raises PeerFault(WRONG_CONTEXT, WRONG_PHASE)."""
    offer = state.judged.agreement.terms.offer
    if (message.federation, message.model, message.round) != (offer.federation, offer.model, offer.round):
        raise PeerFault(Refusal.WRONG_CONTEXT, "a confirmation of another round")
    if message.v != state.judged.v:
        raise PeerFault(Refusal.WRONG_CONTEXT, "a confirmation of another verdict")
    if message.node not in state.judged.frozen.dealt.nodes:
        raise PeerFault(Refusal.WRONG_PHASE, "a confirmation from a node that did not share")
    return replace(state, confirmations={**state.confirmations, message.node: envelope})


def confirmed(state: Confirming) -> bool:
    """Whether a quorum of the active roster has confirmed."""
    return len(state.confirmations) >= state.judged.agreement.cohort.quorum


def close_confirm(state: Confirming) -> tuple[Unmasking, bytes] | tuple[Aborted, None]:
    """Step 10: the request with exactly q confirmations. Without a quorum the attempt is over, and once
    anybody confirmed no other attempt of this round may follow."""
    if not confirmed(state):
        terms, again = state.judged.agreement.terms, not state.confirmations
        return Aborted(terms, Refusal.TOO_FEW_CONFIRMATIONS, (), again=again), None
    chosen = sorted(state.confirmations)[: state.judged.agreement.cohort.quorum]
    request = UnmaskRequest(state.judged.v, tuple(state.confirmations[node] for node in chosen))
    envelope = sign_message(state.secrets.signer, None, request)
    after = Unmasking(state.judged, state.secrets, state.dealings, state.sums, sketched=state.sketched)
    return after, envelope
