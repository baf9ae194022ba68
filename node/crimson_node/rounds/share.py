"""Round 2, share: check the roster, agree on graph and T0, deal shares and pair secrets (step 4)."""

from collections.abc import Mapping

from crimson_node.member import Member
from crimson_node.state import Advertised, AttemptSecrets, SharesDealt
from crimson_protocol.agreement import Agreement, agree
from crimson_protocol.crypto.labels import PAIR_COMMITMENT, SHARE_COMMITMENT
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import PeerFault
from crimson_protocol.graph import sealer
from crimson_protocol.log import merkle_root
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import HeldShares, pair_info, seal_pair, seal_shares, share_info
from crimson_protocol.secret.commitments import commit
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import Secret
from crimson_protocol.secret.shamir import split
from crimson_protocol.wire.envelope import Envelope
from crimson_protocol.wire.messages.advertise import Advertise
from crimson_protocol.wire.messages.share import MAX_ADVERTISEMENT, Manifest, Roster, Share, ShareRow
from crimson_protocol.wire.table import BY_RECORD


def share(state: Advertised, member: Member, roster: Roster, entropy: Entropy) -> tuple[SharesDealt, bytes]:
    """Step 4. Raises PeerFault: whatever is wrong with a roster, the enclave composed it."""
    agreement = check_roster(state, member, roster)
    rows, own = deal_rows(state.secrets, member.index, agreement, entropy)
    rows_root = merkle_root([row.leaf().to_bytes() for row in rows])
    manifest = Manifest(agreement.t0, member.index, len(rows), rows_root)
    message = Share(sign_message(member.identity, member.index, manifest), rows)
    reply = sign_message(member.identity, member.index, message)
    return SharesDealt(state.update, agreement, state.enclave, state.secrets, rows_root, own), reply


def check_roster(state: Advertised, member: Member, roster: Roster) -> Agreement:
    """Steps 4.1 to 4.4: every advertisement is an active node's own, ours is among them, and all follows."""
    if roster.offer_digest != state.terms.offer_digest:
        raise PeerFault(Refusal.WRONG_CONTEXT, "the roster answers another offer", "enclave")
    envelopes: dict[int, bytes] = {}
    messages: dict[int, Advertise] = {}
    for data in roster.advertisements:
        node, message = _advertisement(state, member, data)
        # 4.1: nobody twice.
        if node in envelopes:
            raise PeerFault(Refusal.UNKNOWN_NODE, f"{member.policy.name(node)} appears twice", "enclave")
        envelopes[node], messages[node] = data, message
    # 4.2: our own advertisement, unaltered.
    if envelopes.get(member.index) != state.envelope:
        raise PeerFault(Refusal.UNKNOWN_NODE, "the roster lacks this node's own advertisement", "enclave")
    # 4.3 and 4.4: nonce, organisations, cohort, graph, T0.
    return agree(state.terms, envelopes, messages, roster.graph_nonce)


def _advertisement(state: Advertised, member: Member, data: bytes) -> tuple[int, Advertise]:
    """Steps 4.1: a key that the signed roster policy does not back is the enclave's or gateway's own."""
    envelope = Envelope.from_bytes(data, MAX_ADVERTISEMENT).checked_kind(BY_RECORD[Advertise].kind)
    node = envelope.sender
    if node is None or not member.policy.is_active(node):
        raise PeerFault(Refusal.UNKNOWN_NODE, "an advertisement of no active node", "enclave")
    try:
        envelope.verify(member.policy.roster[node].identity_key, "enclave")
    except PeerFault as fault:
        raise PeerFault(
            Refusal.UNKNOWN_NODE, f"not signed by {member.policy.name(node)}", "enclave"
        ) from fault
    message = Advertise.from_bytes(envelope.body, MAX_ADVERTISEMENT)
    if message.node != node or message.offer_digest != state.terms.offer_digest:
        raise PeerFault(Refusal.WRONG_CONTEXT, "an advertisement for another offer or node", "enclave")
    return node, message


def deal_rows(
    secrets: AttemptSecrets, me: int, agreement: Agreement, entropy: Entropy
) -> tuple[tuple[ShareRow, ...], HeldShares]:
    """One row for each recipient, in ascending order, and the pair of shares that stays at home."""
    holders = sorted(agreement.graph.holders[me])
    xs, threshold = [holder + 1 for holder in holders], agreement.cohort.threshold
    of_seed = split(secrets.seed.reveal(), threshold, xs, entropy)
    of_root = split(secrets.root.reveal(), threshold, xs, entropy)
    held = {
        holder: HeldShares(Secret(of_seed[holder + 1]), Secret(of_root[holder + 1])) for holder in holders
    }
    rows = tuple(_row(secrets, me, peer, agreement, held) for peer in agreement.recipients(me))
    return rows, held[me]


def _row(
    secrets: AttemptSecrets, me: int, peer: int, agreement: Agreement, held: Mapping[int, HeldShares]
) -> ShareRow:
    shares, keys = held.get(peer), agreement.advertisements[peer]
    share_box = pair_box = pair_commitment = None
    if shares is not None and peer != me:
        share_box = seal_shares(keys.share_key, share_info(agreement.t0, me, peer), shares)
    if peer in agreement.graph.neighbours[me] and sealer(me, peer) == me:
        secret = secrets.root.pair_secret(agreement.t0, me, peer)
        pair_box = seal_pair(keys.mask_key, pair_info(agreement.t0, me, peer), secret)
        pair_commitment = commit(PAIR_COMMITMENT, secret)
    return ShareRow(
        recipient=peer,
        self_commitment=commit(SHARE_COMMITMENT, shares.self_share) if shares else None,
        root_commitment=commit(SHARE_COMMITMENT, shares.root_share) if shares else None,
        pair_commitment=pair_commitment,
        share_box=share_box,
        pair_box=pair_box,
    )
