"""A hand-made agreement with the graph of the peers: k neighbours on a shuffled ring, who also hold the shares.

Only for comparison at equal k. Crimson's own graphs are complete up to 128 nodes, and above them as dense
as their privacy bound asks for (docs/PROTOCOL.md, "Graphs and numbers").
"""

import random
import secrets
from collections.abc import Mapping

from crimson_governance.templates import ACCESS, SCHEMA, template
from crimson_protocol.agreement import Agreement, Terms
from crimson_protocol.cohort import Numbers
from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.graph import Graph
from crimson_protocol.policy.access import AccessRules
from crimson_protocol.policy.document import (
    POLICY_VERSION,
    EnrolmentRules,
    EvidenceRules,
    ModelRules,
    Policy,
    RosterEntry,
    ServerRules,
)
from crimson_protocol.secret.keys import BoxKey, IdentityKey
from crimson_protocol.transcript import nonce_commitment
from crimson_protocol.wire.messages.advertise import Advertise, Checkpoint, Offer, RoundNumbers

MODEL = "model"
SUITE = "aes-256-ctr"
MICRO = 1_000_000
NOBODY = DualPublic(b"", b"")


def value_bits(nodes: int) -> int:
    """As many as the protocol allows, 24 at most, so that the sum of all nodes stays inside the ring."""
    return next(bits for bits in range(24, 7, -1) if nodes << bits < 2**31)


def round_numbers(nodes: int, parameters: int, clip: float) -> RoundNumbers:
    """Plain averaging: no counters, every node of weight 1. `clip` bounds the L2 norm of an update."""
    return RoundNumbers(
        parameters=parameters,
        counters=0,
        slices=1,
        ring_bits=32,
        value_bits=value_bits(nodes),
        clip_micro=round(clip * MICRO),
        weight_cap=1,
        bucket_size=None,
        min_cohort=3,
        corrupt=(0, 1),
        dropout=(0, 1),
        noise_micro=0,
        steps_cap=0,
    )


def make_terms(identities: list[IdentityKey], numbers: RoundNumbers, round_key: BoxKey) -> Terms:
    """Terms that no governor signed and no policy check has seen: the timed steps do not look at those."""
    rules = ModelRules(
        model=MODEL,
        strategy="fedavg",
        alternatives=(),
        loss="none",
        robust_rule="none",
        robust_tolerance=0,
        mixing=0,
        radius_micro=0,
        enclave_clip=0,
        server=ServerRules(),
        numbers=numbers,
        sketch=None,
        privacy=None,
        disclosures=("no-corruption",),
        plan=b"",
        base=None,
        initial_digest=bytes(32),
    )
    roster = tuple(
        RosterEntry(f"site-{index}", f"site-{index}", "hospital", identity.public, b"", "active")
        for index, identity in enumerate(identities)
    )
    policy = Policy(
        version=POLICY_VERSION,
        federation="peers",
        serial=1,
        expires=2**40,
        roster=roster,
        operators=(),
        access=AccessRules(template(ACCESS), template(SCHEMA)),
        evidence=EvidenceRules((), (), (), ()),
        enrolment=EnrolmentRules(1, ("hospital",)),
        models=(rules,),
        regrouping=0,
        reopens=(),
    )
    offer = Offer(
        suite=SUITE,
        federation="peers",
        model=MODEL,
        round=1,
        attempt=1,
        model_digest=bytes(32),
        policy_digest=bytes(32),
        policy_serial=1,
        numbers=numbers,
        claims_digest=bytes(32),
        measurement=bytes(32),
        simulated=True,
        round_key=round_key.public,
        nonce_commitment=nonce_commitment(bytes(32)),
        checkpoint=Checkpoint(0, bytes(32)),
        strategy="fedavg",
    )
    return Terms(policy, rules, offer, secrets.token_bytes(32))


def make_agreement(terms: Terms, advertised: Mapping[int, Advertise], degree: int, seed: int) -> Agreement:
    """Every node of `advertised` with its `degree` nearest on the ring; a threshold of two fifths of them."""
    nodes = tuple(sorted(advertised))
    ring = list(nodes)
    random.Random(seed + 1).shuffle(ring)
    steps = [step for step in range(-(degree // 2), degree // 2 + 1) if step]
    near = {node: frozenset(ring[(at + step) % len(ring)] for step in steps) for at, node in enumerate(ring)}
    holders = {node: near[node] | {node} for node in nodes}
    cohort = Numbers(0, max(2, round(0.4 * degree)), 2, degree, degree, 0, False)
    graph = Graph(nodes, (nodes,), near, holders)
    return Agreement(terms, advertised, {}, cohort, {}, {nodes: 3}, graph, secrets.token_bytes(32))
