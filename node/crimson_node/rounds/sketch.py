"""Round 4, before the verdict: a sketch of the vector that this node has frozen, and of no other (step 7a)."""

import numpy as np

from crimson_node.member import Member
from crimson_node.seen import Seen, UpdateSketched
from crimson_node.state import FrozenInputs, Submitted
from crimson_protocol.errors import PeerFault
from crimson_protocol.exposure import EXPOSURE_LIMIT_MICRO, exposure_micro, most_sketches, sketched_round
from crimson_protocol.fixed_point import decode
from crimson_protocol.layout import Words
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import seal_sketch
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.sketch import sketch
from crimson_protocol.wire.messages.confirm import Freeze
from crimson_protocol.wire.messages.sketch import Sketch, SketchedUpdate


def answer_freeze(
    state: Submitted, after: FrozenInputs, member: Member, seen: Seen, message: Freeze
) -> tuple[UpdateSketched | None, bytes | None]:
    """Step 7a: the journal entry, durable before the sketch leaves, and the sealed sketch; neither where none is due.

    Raises PeerFault on the enclave: NUMBERS_DIFFER for a seed that the policy has no use for, and for none where it
    wants one, THIRD_SKETCH, EXPOSURE_EXCEEDED.
    """
    terms = state.dealt.agreement.terms
    offer, rules = terms.offer, terms.rules
    if (message.sketch_seed is not None) is not sketched_round(rules, offer.round):
        text = "the policy has sketches in another round than the enclave"
        raise PeerFault(Refusal.NUMBERS_DIFFER, text, "enclave")
    if message.sketch_seed is None or rules.sketch is None:
        return None, None
    if member.index not in after.frozen.digests or state.encoded is None:
        return None, None
    # 7a.1: two sketches of one update at most, unless governors ask for a round more: made on one model, a retried
    # update is much the same.
    allowed = most_sketches(member.policy, offer.model, offer.model_digest)
    if seen.sketches.get((offer.model, offer.model_digest), 0) >= allowed:
        raise PeerFault(Refusal.THIRD_SKETCH, "a third sketch of one update was asked for", "enclave")
    # 7a.2: and no more of this model's updates, over all rounds, than the limit.
    micro = exposure_micro(rules)
    if seen.exposure.get(offer.model, 0) + micro > EXPOSURE_LIMIT_MICRO:
        raise PeerFault(Refusal.EXPOSURE_EXCEEDED, "sketches have shown enough of this model", "enclave")
    content = _content(state, state.encoded, message.sketch_seed, rules.sketch.buckets)
    box = seal_sketch(offer.round_key, after.frozen.t2, member.index, content.to_bytes())
    reply = sign_message(member.identity, member.index, Sketch(after.frozen.t2, member.index, box))
    return UpdateSketched(offer.model, offer.round, offer.attempt, offer.model_digest, micro), reply


def _content(state: Submitted, encoded: Words, seed: bytes, buckets: int) -> SketchedUpdate:
    layout = state.dealt.agreement.terms.layout
    count, bits = layout.numbers.parameters, layout.numbers.ring_bits
    lanes = decode(layout.read(encoded, 0, count), bits)
    weight = int(decode(layout.read(encoded, count, count + 1), bits)[0])
    return SketchedUpdate(weight, sketch(lanes, seed, buckets).astype(np.dtype("<i8")).tobytes())
