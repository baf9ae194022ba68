"""Round 4, between freeze and verdict: take sketches, filter by them, judge; later, hold the sum to them (7a to 8)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.aggregation.memory import Memory
from crimson_enclave.filters.sketch_filter import flag
from crimson_enclave.rounds.submit import verdict_of
from crimson_enclave.state import Aborted, Confirming, Sketched, Sketching, Unmasking
from crimson_enclave.totals import BucketFault, BucketTotal, Totals
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.document import MICRO, ModelRules
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import sketch_info
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.sketch import equal_modulo, sketch
from crimson_protocol.trust import SKETCH_SUM, GroupTest
from crimson_protocol.wire.messages.sketch import MAX_SKETCH_BOX, Sketch, SketchedUpdate

LITTLE = np.dtype("<i8")


@dataclass(frozen=True)
class Flagged:
    """A node that the filter leaves out of this round, and the test that it failed."""

    node: int
    test: str


def take_sketch(state: Sketching, message: Sketch) -> Sketching:
    """Step 7b at the enclave: one sketch per frozen vector, of the policy's length, sealed to the round key.

    A second sketch changes nothing. Raises PeerFault(WRONG_CONTEXT, WRONG_PHASE, BAD_BOX, WRONG_LENGTH, OUT_OF_RANGE).
    """
    rules = state.frozen.dealt.agreement.terms.rules
    if message.t2 != state.frozen.t2:
        raise PeerFault(Refusal.WRONG_CONTEXT, "a sketch for another T2")
    if message.node not in state.candidates:
        raise PeerFault(Refusal.WRONG_PHASE, "a sketch from a node whose vector does not count")
    if message.node in state.sketched.values:
        return state
    plain = state.secrets.round_key.open(sketch_info(message.t2, message.node), message.box)
    content = SketchedUpdate.from_bytes(plain, MAX_SKETCH_BOX)
    if rules.sketch is None or len(content.values) != LITTLE.itemsize * rules.sketch.buckets:
        raise PeerFault(Refusal.WRONG_LENGTH, "the sketch has another length than the policy's")
    if content.weight > 1 << rules.numbers.value_bits:
        raise PeerFault(Refusal.OUT_OF_RANGE, "the sketched weight exceeds the cap")
    values = np.frombuffer(content.values, LITTLE).astype(np.int64)
    taken = replace(
        state.sketched,
        values={**state.sketched.values, message.node: values},
        weights={**state.sketched.weights, message.node: content.weight},
    )
    return replace(state, sketched=taken)


def close_sketch(
    state: Sketching, memory: Memory
) -> tuple[Confirming | Aborted, tuple[bytes, ...], tuple[Flagged, ...]]:
    """Step 8 after sketches: the verdict over those who sent one and pass, what to say, and who was flagged.

    A node without a sketch is left out like one that failed: the sum could not be held to its sketch.
    """
    flagged = filtered(state, memory)
    chosen = frozenset(state.sketched.values) - {found.node for found in flagged}
    judged = verdict_of(state.frozen, chosen, state.only, state.convictions)
    if isinstance(judged, Aborted):
        return judged, (), flagged
    after = Confirming(judged, state.secrets, state.dealings, state.sums, sketched=state.sketched)
    return after, (sign_message(state.secrets.signer, None, judged.verdict),), flagged


def filtered(state: Sketching, memory: Memory) -> tuple[Flagged, ...]:
    """Whom the sketch filter leaves out, by roster index. Updates are compared in the update's unit, by the weight
    that each claims; a sketch without a weight is a lie unless it is zero."""
    terms = state.frozen.dealt.agreement.terms
    rules, sketched = terms.rules, state.sketched
    nodes = sorted(node for node, weight in sketched.weights.items() if weight)
    lying = [
        Flagged(node, "weight")
        for node, weight in sorted(sketched.weights.items())
        if not weight and sketched.values[node].any()
    ]
    if not nodes:
        return tuple(lying)
    clip = rules.numbers.clip_micro / MICRO
    rows = np.array([sketched.values[node] * (clip / sketched.weights[node]) for node in nodes])
    # Rounding adds a quarter of a squared quantum a lane at most, which weighs more in a light node's update.
    weights = np.array([sketched.weights[node] for node in nodes], np.float64)
    bounds = clip * np.sqrt(1 + rules.numbers.parameters / 4 / np.square(weights))
    found = flag(rows, bounds, rules.robust_tolerance, _last_change(rules, memory, sketched.seed))
    named = [Flagged(nodes[place], test) for place, test in sorted(found.items())]
    return tuple(sorted(lying + named, key=lambda flagged: flagged.node))


def _last_change(rules: ModelRules, memory: Memory, seed: bytes) -> NDArray[np.float64] | None:
    """Sketch of the last aggregated change's direction under this round's seed; None before there is one.

    It is taken at a length of one bound, however long the change was: false weights may have made it very long.
    """
    if rules.sketch is None or not memory.change:
        return None
    change = memory.vector("change", rules.numbers.parameters)
    length = float(np.linalg.norm(change))
    if not (np.isfinite(length) and length > 0):
        return None
    quanta = np.rint(change / length * 2**rules.numbers.value_bits).astype(np.int64)
    return np.asarray(sketch(quanta, seed, rules.sketch.buckets), np.float64)


def check_sketches(state: Unmasking, totals: Totals) -> None:
    """Step 12.6b: every opened sum is the one that its nodes' sketches add up to, modulo the ring, and so is its
    weight. Raises BucketFault(SKETCH_DIFFERS): somebody in the bucket lied, and nobody can be named."""
    sketched, rules = state.sketched, state.judged.agreement.terms.rules
    if sketched is None or rules.sketch is None:
        return
    for bucket in totals.buckets:
        _check_bucket(sketched, rules.sketch.buckets, totals, bucket)


def _check_bucket(sketched: Sketched, buckets: int, totals: Totals, bucket: BucketTotal) -> None:
    said = np.array([sketched.values[node] for node in bucket.nodes]).sum(axis=0)
    opened = sketch(_lanes(totals, bucket), sketched.seed, buckets)
    weight = sum(sketched.weights[node] for node in bucket.nodes)
    same = equal_modulo(said, opened, totals.layout.numbers.ring_bits)
    if not same or weight != totals.weight_of(bucket):
        text = f"the sketches of {len(bucket.nodes)} nodes are not those of their sum"
        raise BucketFault(Refusal.SKETCH_DIFFERS, text, (GroupTest(bucket.nodes, SKETCH_SUM, True),))


def _lanes(totals: Totals, bucket: BucketTotal) -> Iterable[NDArray[np.int64]]:
    step, count = 1 << 16, totals.layout.numbers.parameters
    for start in range(0, count, step):
        yield totals.lanes_of(bucket, start, min(start + step, count))
