"""The transcript: T0, T1, T2 and V. Everything both sides rely on, hashed in a fixed order.

Each party computes these for itself. T1 salts every mask key, so parties with different views never
produce masks that cancel; and it travels in signed headers, so the difference is seen and blamed.
"""

import hashlib
from collections.abc import Iterable, Mapping

from crimson_protocol.crypto import labels
from crimson_protocol.log import merkle_root
from crimson_protocol.policy.document import Policy
from crimson_protocol.wire import cbor
from crimson_protocol.wire.messages.advertise import Checkpoint, Offer
from crimson_protocol.wire.messages.confirm import Freeze, Verdict
from crimson_protocol.wire.messages.submit import Dealer


def _hash(*parts: object) -> bytes:
    return hashlib.sha256(cbor.encode(list(parts))).digest()


def model_digest(artifact: bytes) -> bytes:
    """Digest of a model or statistics artifact, as Offer and receipts name it."""
    return hashlib.sha256(labels.MODEL.encode() + b"\x00" + artifact).digest()


def nonce_commitment(nonce: bytes) -> bytes:
    """The enclave's commitment to the graph nonce, made before it sees any advertisement."""
    return _hash(labels.NONCE, nonce)


def roster_digest(policy: Policy, advertisements: Mapping[int, bytes]) -> bytes:
    """Digest of index, node id, identity key and signed advertisement of every node in the attempt."""
    rows = [
        [
            index,
            policy.roster[index].node,
            policy.roster[index].identity_key,
            hashlib.sha256(envelope).digest(),
        ]
        for index, envelope in sorted(advertisements.items())
    ]
    return _hash(labels.ROSTER, rows)


def graph_seed(roster: bytes, checkpoint: Checkpoint, nonce: bytes) -> bytes:
    """Seed of the attempt's graph: no party alone chooses all three inputs after seeing the others."""
    return _hash(labels.GRAPH, roster, checkpoint.to_plain(), nonce)


def bucket_seed(policy: Policy) -> bytes:
    """Seed of the buckets, fixed for a roster epoch: it changes when the active roster does, or by `regrouping`.

    Buckets drawn anew each round would let a broken enclave solve for single nodes.
    """
    rows = [
        [index, policy.roster[index].node, policy.roster[index].identity_key] for index in policy.active()
    ]
    drawn = [policy.regrouping] if policy.regrouping else []
    return _hash(labels.BUCKETS, policy.federation, rows, *drawn)


def t0(offer: Offer, offer_digest: bytes, roster: bytes, graph: bytes, buckets: bytes) -> bytes:
    """T0: one attempt's agreement, before any share is dealt."""
    numbers = offer.numbers
    return _hash(
        labels.T0,
        labels.VERSION,
        offer.suite,
        offer.federation,
        offer.model,
        offer.round,
        offer.attempt,
        offer_digest,
        offer.model_digest,
        offer.policy_digest,
        offer.policy_serial,
        roster,
        graph,
        buckets,
        [offer.claims_digest, offer.measurement],
        offer.simulated,
        offer.checkpoint.to_plain(),
        [numbers.parameters, numbers.counters, numbers.slices],
        numbers.ring_bits,
        numbers.value_bits,
        numbers.clip_micro,
        numbers.weight_cap,
        numbers.noise_micro,
        numbers.steps_cap,
    )


def t1(t0_digest: bytes, dealers: Iterable[Dealer]) -> bytes:
    """T1: T0, the set that completed Share, and the root of their manifests."""
    rows = [dealer.to_plain() for dealer in dealers]
    return _hash(
        labels.T1, t0_digest, [row[0] for row in rows], merkle_root([cbor.encode(row) for row in rows])
    )


def t2(t1_digest: bytes, freeze: Freeze) -> bytes:
    """T2: T1, every frozen vector's digest and, where sketches are wanted, their seed."""
    seed = [] if freeze.sketch_seed is None else [freeze.sketch_seed]
    return _hash(labels.T2, t1_digest, [submission.to_plain() for submission in freeze.submissions], *seed)


def verdict_hash(verdict: Verdict) -> bytes:
    """V: what a confirmation signs."""
    return _hash(
        labels.VERDICT,
        verdict.t2,
        list(verdict.accepted),
        list(verdict.dropped),
        list(verdict.rejected),
        list(verdict.closed),
    )
