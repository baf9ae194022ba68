"""Round 5, unmask: open each holder's box, keep the shares that open their commitments (step 11)."""

from collections.abc import Iterator
from dataclasses import replace

from crimson_enclave.state import Unmasking
from crimson_protocol.crypto.labels import SHARE_COMMITMENT
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import unmask_info
from crimson_protocol.secret.commitments import commit
from crimson_protocol.secret.keys import Secret
from crimson_protocol.wire.messages.unmask import OpenedShare, OpenedShares, Unmask

MAX_OPENED = 1 << 20


def take_unmask(state: Unmasking, message: Unmask) -> tuple[Unmasking, tuple[int, ...]]:
    """Step 11 at the enclave. Returns the next state and the owners whose share from this holder is bad.

    A bad share is left out and its holder named; its other shares count. A second answer changes nothing.
    Raises PeerFault(WRONG_CONTEXT, BAD_BOX, MALFORMED, WRONG_PHASE).
    """
    if message.v != state.judged.v:
        raise PeerFault(Refusal.WRONG_CONTEXT, "shares opened for another verdict")
    if message.node not in state.judged.frozen.dealt.nodes:
        raise PeerFault(Refusal.WRONG_PHASE, "shares from a node that did not share")
    if message.node in state.answered:
        return state, ()
    plain = state.secrets.round_key.open(unmask_info(message.v, message.node), message.box)
    shares = {opened.owner: opened for opened in OpenedShares.from_bytes(plain, MAX_OPENED).shares}
    good = {
        owner: opened for owner, opened in shares.items() if _opens_commitment(state, message.node, opened)
    }
    opened = dict(state.opened)
    for owner, share in good.items():
        opened[owner] = {**opened.get(owner, {}), message.node: share.share}
    bad = tuple(sorted(set(shares) - set(good)))
    return replace(state, opened=opened, answered=state.answered | {message.node}), bad


def owners(state: Unmasking) -> Iterator[tuple[int, str]]:
    """Every owner whose secret this verdict opens, and which one ("self" or "root")."""
    for owner in sorted(state.dealings):
        which = state.judged.opens(owner)
        if which is not None:
            yield owner, which


def enough(state: Unmasking) -> bool:
    """Whether every secret that must be rebuilt has a threshold of good shares."""
    threshold = state.judged.agreement.cohort.threshold
    return all(len(state.opened.get(owner, ())) >= threshold for owner, _ in owners(state))


def _opens_commitment(state: Unmasking, holder: int, opened: OpenedShare) -> bool:
    dealing, which = state.dealings.get(opened.owner), state.judged.opens(opened.owner)
    leaf = dealing.leaf(holder) if dealing else None
    if leaf is None or which is None:
        return False
    commitment = leaf.self_commitment if which == "self" else leaf.root_commitment
    return commitment == commit(SHARE_COMMITMENT, Secret(opened.share))
