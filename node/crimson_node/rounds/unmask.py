"""Round 5, unmask: open this node's shares for the verdict that a quorum confirmed (step 11)."""

import hashlib

from crimson_node.member import Member
from crimson_node.seen import ReleaseCharged
from crimson_node.state import Confirmed, Opened
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.privacy import multiplier_micro
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import seal_opened
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.survivors import Judged
from crimson_protocol.wire.envelope import Envelope
from crimson_protocol.wire.messages.confirm import Confirm
from crimson_protocol.wire.messages.unmask import OpenedShare, OpenedShares, Unmask, UnmaskRequest
from crimson_protocol.wire.table import BY_RECORD

MAX_CONFIRM = 512


def unmask(state: Confirmed, member: Member, request: UnmaskRequest) -> tuple[Opened, bytes]:
    """Step 11. Raises PeerFault(WRONG_CONTEXT, TOO_FEW_CONFIRMATIONS, BAD_SIGNATURE) on the enclave."""
    judged = state.judged
    # 11.1: for the verdict this node confirmed, and no other.
    if request.v != judged.v:
        raise PeerFault(Refusal.WRONG_CONTEXT, "the request is for another verdict", "enclave")
    # 11.2: a quorum of those who may train the model signed exactly this verdict. Others, though active, do not
    # count: q is computed over the members.
    confirmed = {_confirmation(state, member, data) for data in request.confirmations}
    if len(confirmed) < judged.agreement.cohort.quorum:
        text = f"{len(confirmed)} confirmations, {judged.agreement.cohort.quorum} needed"
        raise PeerFault(Refusal.TOO_FEW_CONFIRMATIONS, text, "enclave")
    # 11.3: one kind of share per owner, decided by the verdict alone.
    shares = []
    for owner, held in sorted(state.held.items()):
        which = judged.opens(owner)
        if which is not None:
            chosen = held.self_share if which == "self" else held.root_share
            shares.append(OpenedShare(owner, chosen.reveal()))
    round_key = judged.agreement.terms.offer.round_key
    box = seal_opened(round_key, judged.v, member.index, OpenedShares(tuple(shares)).to_bytes())
    reply = sign_message(member.identity, member.index, Unmask(judged.v, member.index, box))
    return Opened(judged, state.enclave, request_digest(request), reply), reply


def charge(judged: Judged) -> ReleaseCharged | None:
    """11.5: what this release costs, in the journal before the shares leave; None for a model without a budget."""
    terms = judged.agreement.terms
    offer, rules = terms.offer, terms.rules
    if rules.privacy is None:
        return None
    sampling = rules.privacy.sampling_micro
    return ReleaseCharged(offer.model, offer.round, offer.attempt, multiplier_micro(rules), sampling)


def unmask_again(state: Opened, request: UnmaskRequest) -> bytes:
    """11.4: the first request gets the same bytes for ever, any other PeerFault(SECOND_REQUEST)."""
    if request_digest(request) != state.request_digest:
        raise PeerFault(Refusal.SECOND_REQUEST, "shares were opened for another request", "enclave")
    return state.reply


def request_digest(request: UnmaskRequest) -> bytes:
    """What makes two requests the same."""
    return hashlib.sha256(request.to_bytes()).digest()


def _confirmation(state: Confirmed, member: Member, data: bytes) -> int:
    """The roster index of a valid confirmation of our verdict."""
    offer = state.judged.agreement.terms.offer
    envelope = Envelope.from_bytes(data, MAX_CONFIRM).checked_kind(BY_RECORD[Confirm].kind)
    node = envelope.sender
    if node is None or node not in member.policy.members(offer.model):
        raise PeerFault(Refusal.UNKNOWN_NODE, "a confirmation of no member of the model", "enclave")
    envelope.verify(member.policy.roster[node].identity_key, "enclave")
    message = Confirm.from_bytes(envelope.body, MAX_CONFIRM)
    expected = Confirm(offer.federation, offer.model, offer.round, node, state.judged.v)
    if message != expected:
        raise PeerFault(Refusal.WRONG_CONTEXT, "a confirmation of another verdict", "enclave")
    return node
