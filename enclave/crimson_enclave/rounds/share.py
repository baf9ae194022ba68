"""Round 2, share: take each dealer's manifest and rows, then fix who dealt (steps 4 and 5)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from crimson_enclave.state import Aborted, Dealing, Sharing, Submitting, Taken
from crimson_enclave.sums import BucketSums
from crimson_protocol.agreement import Agreement, deal
from crimson_protocol.errors import PeerFault
from crimson_protocol.log import MerkleLog, leaf_hash, merkle_root
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.wire.envelope import Envelope
from crimson_protocol.wire.messages.share import Manifest, Share
from crimson_protocol.wire.messages.submit import Dealer, Delivery, Shared
from crimson_protocol.wire.table import BY_RECORD

MAX_MANIFEST = 512


def take_share(state: Sharing, node: int, message: Share) -> Sharing:
    """Step 4 at the enclave: the manifest is the dealer's own, and the rows are exactly those it owes.

    Raises PeerFault(WRONG_PHASE, MANIFEST_ALTERED, WRONG_CONTEXT, EQUIVOCATION, BAD_SIGNATURE).
    """
    agreement = state.agreement
    if node not in agreement.members:
        raise PeerFault(Refusal.WRONG_PHASE, "a share from a node that is not on this attempt's roster")
    manifest = open_manifest(agreement, node, message.manifest)
    # 4.5: one row for each recipient, with a box exactly where there is something to seal.
    if tuple(row.recipient for row in message.rows) != agreement.recipients(node):
        raise PeerFault(Refusal.MANIFEST_ALTERED, "the rows are not those of this dealer's recipients")
    for row in message.rows:
        if not agreement.row_complete(node, row):
            raise PeerFault(Refusal.MANIFEST_ALTERED, "a row has a box or commitment too many or too few")
    # 4.6: the manifest commits to these rows.
    leaves = [row.leaf().to_bytes() for row in message.rows]
    if manifest.rows != len(leaves) or manifest.rows_root != merkle_root(leaves):
        raise PeerFault(Refusal.MANIFEST_ALTERED, "the manifest commits to other rows")
    known = state.shares.get(node)
    if known is not None and known.message != message:
        raise PeerFault(Refusal.EQUIVOCATION, "a second, different share")
    return replace(state, shares={**state.shares, node: Taken(manifest, message)})


def open_manifest(agreement: Agreement, node: int, data: bytes) -> Manifest:
    """The dealer's verified manifest for this T0."""
    policy = agreement.terms.policy
    envelope = Envelope.from_bytes(data, MAX_MANIFEST)
    if envelope.kind != BY_RECORD[Manifest].kind or envelope.sender != node:
        raise PeerFault(Refusal.MANIFEST_ALTERED, "the manifest is another node's or another message")
    envelope.verify(policy.roster[node].identity_key, policy.name(node))
    manifest = Manifest.from_bytes(envelope.body, MAX_MANIFEST)
    if manifest.t0 != agreement.t0 or manifest.node != node:
        raise PeerFault(Refusal.WRONG_CONTEXT, "the manifest was made for another T0")
    return manifest


def close_share(state: Sharing) -> tuple[Submitting, Iterator[tuple[int, bytes]]] | tuple[Aborted, None]:
    """Step 5: the set that dealt, and for each of it a signed Shared with its deliveries, one at a time."""
    agreement = state.agreement
    dealers = tuple(Dealer(node, taken.manifest.rows_root) for node, taken in sorted(state.shares.items()))
    try:
        dealt = deal(agreement, dealers)
    except PeerFault as fault:
        return Aborted(agreement.terms, fault.code, (), again=True), None
    dealings = {
        node: Dealing(
            taken.message.manifest,
            taken.manifest.rows_root,
            tuple(row.leaf() for row in taken.message.rows),
        )
        for node, taken in state.shares.items()
    }
    sums = BucketSums(agreement.terms.layout, agreement.graph.buckets)
    return Submitting(dealt, state.secrets, dealings, sums), _deliver(state, dealers, dealings)


def _deliver(
    state: Sharing, dealers: tuple[Dealer, ...], dealings: Mapping[int, Dealing]
) -> Iterator[tuple[int, bytes]]:
    trees = {
        node: MerkleLog(leaf_hash(leaf.to_bytes()) for leaf in dealing.leaves)
        for node, dealing in dealings.items()
    }
    places = {
        node: {row.recipient: place for place, row in enumerate(taken.message.rows)}
        for node, taken in state.shares.items()
    }
    for recipient in sorted(state.shares):
        deliveries = []
        for node in sorted(state.shares):
            place = places[node].get(recipient)
            if place is not None and node != recipient:
                message, tree = state.shares[node].message, trees[node]
                path = tree.inclusion_proof(place, tree.size)
                deliveries.append(Delivery(node, message.manifest, message.rows[place], path))
        shared = Shared(state.agreement.t0, dealers, tuple(deliveries))
        yield recipient, sign_message(state.secrets.signer, None, shared)
