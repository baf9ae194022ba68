"""Round 1, advertise: offer a round, take advertisements, publish the roster (steps 1 to 3)."""

from collections.abc import Mapping
from dataclasses import replace

from crimson_enclave.state import Aborted, Advertised, Advertising, RoundSecrets, Sharing
from crimson_protocol import transcript
from crimson_protocol.agreement import Terms, agree, filled, offer_digest
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import PeerFault
from crimson_protocol.evidence.format import Claims
from crimson_protocol.policy.document import Policy
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import refuse_bad_key
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import BoxKey, IdentityKey
from crimson_protocol.wire.messages.advertise import Advertise, Checkpoint, Offer
from crimson_protocol.wire.messages.share import Roster


def open_attempt(
    policy: Policy,
    model: str,
    place: tuple[int, int],
    model_digest: bytes,
    claims: Claims,
    measurement: bytes,
    checkpoint: Checkpoint,
    suite: str,
    signer: IdentityKey,
    entropy: Entropy,
    excluded: frozenset[int] = frozenset(),
    strategy: str | None = None,
) -> tuple[Advertising, bytes]:
    """Step 1: a signed Offer for (round, attempt) `place`, with a fresh round key and a committed nonce.

    strategy: one of the policy's alternatives, instead of its first choice.
    """
    rules = policy.rules(model)
    secrets = RoundSecrets(signer, BoxKey.fresh(entropy), entropy(32))
    offer = Offer(
        suite=suite,
        federation=policy.federation,
        model=model,
        round=place[0],
        attempt=place[1],
        model_digest=model_digest,
        policy_digest=policy.digest(),
        policy_serial=policy.serial,
        strategy=strategy or rules.strategy,
        numbers=rules.numbers,
        claims_digest=claims.digest(),
        measurement=measurement,
        simulated=claims.simulated,
        round_key=secrets.round_key.public,
        nonce_commitment=transcript.nonce_commitment(secrets.graph_nonce),
        checkpoint=checkpoint,
    )
    envelope = sign_message(signer, None, offer)
    terms = Terms(policy, rules, offer, offer_digest(envelope))
    return Advertising(terms, secrets, excluded=excluded), envelope


def take_advertise(state: Advertising, envelope: bytes, message: Advertise) -> Advertising:
    """Step 2 at the enclave: one advertisement per active node, for this very offer.

    The signature was checked by the dispatcher. Raises PeerFault(ACCESS_DENIED, WRONG_CONTEXT, EQUIVOCATION,
    MALFORMED).
    """
    # 2.9: the access rules let this node train this model.
    if message.node not in state.terms.policy.members(state.terms.offer.model):
        raise PeerFault(Refusal.ACCESS_DENIED, "the policy does not let this node train the model")
    if message.offer_digest != state.terms.offer_digest:
        raise PeerFault(Refusal.WRONG_CONTEXT, "the advertisement answers another offer")
    known = state.advertised.get(message.node)
    if known is not None and known.envelope != envelope:
        raise PeerFault(Refusal.EQUIVOCATION, "a second, different advertisement")
    for key in (message.mask_key, message.share_key):
        refuse_bad_key(key)
    return replace(state, advertised={**state.advertised, message.node: Advertised(envelope, message)})


def close_advertise(state: Advertising) -> tuple[Sharing, bytes] | tuple[Aborted, None]:
    """Step 3: the roster of this attempt, or an abort where the cohort is too small.

    Culprits of an earlier attempt are left out. One node per organisation, and no node in a bucket that
    could not be opened: an honest node would refuse the roster, so such nodes wait for another round.
    """
    chosen = _one_per_organisation(state)
    chosen = {node: chosen[node] for node in sorted(filled(state.terms, chosen))}
    envelopes = {node: advertised.envelope for node, advertised in chosen.items()}
    messages = {node: advertised.message for node, advertised in chosen.items()}
    try:
        agreement = agree(state.terms, envelopes, messages, state.secrets.graph_nonce)
    except PeerFault as fault:
        return Aborted(state.terms, fault.code, (), again=True), None
    roster = Roster(state.terms.offer_digest, tuple(envelopes.values()), state.secrets.graph_nonce)
    return Sharing(agreement, state.secrets), sign_message(state.secrets.signer, None, roster)


def _one_per_organisation(state: Advertising) -> Mapping[int, Advertised]:
    first: dict[str, int] = {}
    for node in sorted(set(state.advertised) - state.excluded):
        first.setdefault(state.terms.policy.roster[node].organisation, node)
    return {node: state.advertised[node] for node in first.values()}
