"""Round 3, submit: stream masked vectors into the sums, hear complaints, freeze, judge (steps 6 to 8)."""

from collections.abc import Iterable
from dataclasses import replace

from crimson_enclave.aggregation.releasable import refuse_unreleasable
from crimson_enclave.opening import pair_box
from crimson_enclave.state import Aborted, Confirming, Sketched, Sketching, Spool, Submitting
from crimson_protocol.crypto.labels import PAIR_COMMITMENT
from crimson_protocol.errors import PeerFault
from crimson_protocol.graph import sealer
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import open_pair, pair_info
from crimson_protocol.secret.commitments import check
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import BoxKey
from crimson_protocol.survivors import Frozen, Judged, acceptable, closed_buckets, freeze, judge
from crimson_protocol.wire.messages.confirm import Freeze, Submission, Verdict
from crimson_protocol.wire.messages.submit import Complaint, Submit


def take_submit(state: Submitting, message: Submit, payload: Iterable[bytes]) -> Submitting:
    """Step 6 at the enclave: the vector enters its bucket's sum once it is whole, or not at all.

    Raises PeerFault(WRONG_CONTEXT, WRONG_LENGTH, DIGEST_DIFFERS, WRONG_PHASE, SECOND_INPUT). A second,
    different input is remembered by `condemn_second_input`: the node's vector will be rejected.
    """
    refuse_header(state, message)
    if message.node in state.submitted:
        return state
    state.sums.absorb(message.node, payload, message.digest)
    return replace(state, submitted={**state.submitted, message.node: message})


def refuse_header(state: Submitting, message: Submit) -> None:
    """The checks before a byte of the vector is read."""
    name = state.dealt.agreement.terms.policy.name(message.node)
    if message.node not in state.dealt.nodes or message.node in state.withdrawn:
        raise PeerFault(Refusal.WRONG_PHASE, "a vector from a node that did not share, or withdrew", name)
    # 6.6: same T1, so the masks are those that everybody else's cancel.
    if message.t1 != state.dealt.t1:
        raise PeerFault(Refusal.WRONG_CONTEXT, "the vector was masked for another T1", name)
    # 6.7: not a byte more or less than the layout.
    if message.length != state.dealt.agreement.terms.layout.packed:
        raise PeerFault(Refusal.WRONG_LENGTH, f"{message.length} bytes are not the layout's length", name)
    # 6.8: one input per node.
    known = state.submitted.get(message.node)
    if known is not None and known != message:
        raise PeerFault(Refusal.SECOND_INPUT, "a second, different signed input", name)


def condemn_second_input(state: Submitting, node: int) -> Submitting:
    """Both inputs are signed, so the node is to blame; its first vector leaves the sum at release."""
    return replace(state, equivocated=state.equivocated | {node})


def take_complaint(
    state: Submitting, message: Complaint, spool: Spool
) -> tuple[Submitting | Aborted, str | None]:
    """Step 6b: a node withdraws. Returns the next state and the name of whoever is shown to be at fault.

    A pair box that does not open under the revealed mask key convicts its dealer, and the attempt ends:
    the dealer masks with a secret that nobody can rebuild. A pair box that does open convicts the
    complainer. Other complaints cannot be decided from here: the complainer counts as dropped.
    """
    terms, node = state.dealt.agreement.terms, message.node
    if message.t1 != state.dealt.t1:
        raise PeerFault(Refusal.WRONG_CONTEXT, "the complaint is about another T1", terms.policy.name(node))
    if node not in state.dealt.nodes or node in state.submitted:
        raise PeerFault(
            Refusal.WRONG_PHASE, "a complaint after a vector, or from outside", terms.policy.name(node)
        )
    withdrawn = replace(state, withdrawn=state.withdrawn | {node})
    if message.reason != "pair-box" or message.mask_key is None:
        return withdrawn, None
    if _pair_box_is_bad(state, message, BoxKey(message.mask_key), spool):
        culprit = terms.policy.name(message.dealer)
        return Aborted(terms, Refusal.BAD_BOX, (culprit,), again=True), culprit
    return withdrawn, terms.policy.name(node)


def _pair_box_is_bad(state: Submitting, message: Complaint, mask_key: BoxKey, spool: Spool) -> bool:
    agreement = state.dealt.agreement
    sealed = (
        sealer(message.node, message.dealer) == message.dealer if message.node != message.dealer else False
    )
    neighbours = (
        message.dealer in agreement.graph.neighbours[message.node] and message.dealer in state.dealings
    )
    if not (sealed and neighbours) or mask_key.public != agreement.advertisements[message.node].mask_key:
        return False
    leaf, box = pair_box(state.dealings, message.dealer, message.node, spool)
    try:
        secret = open_pair(mask_key, pair_info(agreement.t0, message.dealer, message.node), box)
        check(PAIR_COMMITMENT, secret, leaf.pair_commitment or b"", Refusal.BAD_COMMITMENT)
    except PeerFault:
        return True
    return False


def close_submit(
    state: Submitting,
    only: frozenset[int] | None = None,
    convictions: tuple[bytes, ...] = (),
    suspected: frozenset[int] = frozenset(),
    seed: bytes | None = None,
) -> tuple[Confirming, tuple[bytes, bytes]] | tuple[Sketching, tuple[bytes]] | tuple[Aborted, None]:
    """Steps 7 and 8: Freeze and, unless sketches are asked for under `seed`, the Verdict; or an abort where too little
    arrived.

    `only` is the cohort of an earlier verdict on the same model: nodes that confirmed it confirm no other set, so
    another is never shown. Where one of them is missing the attempt ends, and may be tried again. `suspected` were
    flagged in the model's last sketched round, and stay out until the next.
    """
    signer = state.secrets.signer
    submissions = tuple(Submission(node, state.submitted[node].digest) for node in sorted(state.submitted))
    message = Freeze(state.dealt.t1, submissions, seed)
    frozen, envelope = freeze(state.dealt, message), sign_message(signer, None, message)
    candidates = frozenset(state.submitted) - state.equivocated
    if seed is not None:
        # Too few vectors for any verdict: the attempt ends before anybody shows a sketch.
        asked_of = candidates if only is None else candidates & only
        if isinstance(foreseen := verdict_of(frozen, asked_of, only, convictions), Aborted):
            return foreseen, None
        asked = Sketching(
            frozen, state.secrets, state.dealings, state.sums, asked_of, Sketched(seed), only, convictions
        )
        return asked, (envelope,)
    chosen = candidates - suspected if only is None else candidates & only
    judged = verdict_of(frozen, chosen, only, convictions)
    if isinstance(judged, Aborted):
        return judged, None
    after = Confirming(judged, state.secrets, state.dealings, state.sums)
    return after, (envelope, sign_message(signer, None, judged.verdict))


def verdict_of(
    frozen: Frozen,
    candidates: frozenset[int],
    only: frozenset[int] | None = None,
    convictions: tuple[bytes, ...] = (),
) -> Judged | Aborted:
    """Step 8: the verdict that accepts as many of the candidates as it may, judged as every node will judge it, and by
    whether its open buckets can become a release."""
    agreement = frozen.dealt.agreement
    accepted = acceptable(agreement, candidates)
    if only is not None and accepted != only:
        return Aborted(agreement.terms, Refusal.SURVIVORS_CHANGED, (), again=True)
    submitted = set(frozen.digests)
    verdict = Verdict(
        t2=frozen.t2,
        accepted=tuple(sorted(accepted)),
        dropped=tuple(sorted(frozen.dealt.nodes - submitted)),
        rejected=tuple(sorted(submitted - accepted)),
        closed=closed_buckets(agreement, accepted) or (),
        convictions=convictions,
    )
    try:
        judged = judge(frozen, verdict)
        refuse_unreleasable(agreement.terms.rules, open_sizes(judged))
    except PeerFault as fault:
        return Aborted(agreement.terms, fault.code, (), again=True)
    return judged


def open_sizes(judged: Judged) -> list[int]:
    """How many accepted nodes each open bucket has, in the buckets' order."""
    accepted, closed = set(judged.verdict.accepted), set(judged.verdict.closed)
    buckets = judged.agreement.graph.buckets
    return [len(accepted & set(bucket)) for place, bucket in enumerate(buckets) if place not in closed]
