"""One round at a given graph degree, timed step by step, for comparison with other secure aggregations.

`run_round` is what a comparison script calls (docs/PERFORMANCE.md, "Peers"). Cryptography, masking and
opening are the rooms' own; only the graph is made by hand, because the peers choose k and Crimson does not.
"""

import hashlib
import random
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.circulant import MODEL, NOBODY, SUITE, make_agreement, make_terms, round_numbers
from crimson_enclave.aggregation.aggregate import aggregate
from crimson_enclave.aggregation.memory import Memory
from crimson_enclave.rounds.release import open_totals
from crimson_enclave.rounds.unmask import take_unmask
from crimson_enclave.state import Dealing, RoundSecrets, Unmasking
from crimson_enclave.sums import BucketSums
from crimson_node.encoding import encode_update
from crimson_node.member import Member, Update
from crimson_node.rounds.share import deal_rows
from crimson_node.rounds.submit import Opened, mask, open_deliveries
from crimson_node.state import AttemptSecrets, SharesDealt
from crimson_protocol.agreement import Agreement, Dealt, Terms
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.crypto.labels import ROOT_COMMITMENT, SELF_COMMITMENT
from crimson_protocol.entropy import Fill
from crimson_protocol.log import MerkleLog, leaf_hash, merkle_root
from crimson_protocol.secret.boxes import seal_opened
from crimson_protocol.secret.commitments import commit
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import BoxKey, IdentityKey, RoundRoot, Secret
from crimson_protocol.secret.masking import keystream_fill
from crimson_protocol.survivors import Frozen, Judged
from crimson_protocol.transcript import t1
from crimson_protocol.wire.messages.advertise import Advertise
from crimson_protocol.wire.messages.confirm import Confirm, Verdict
from crimson_protocol.wire.messages.share import Manifest, Share
from crimson_protocol.wire.messages.submit import Dealer, Delivery, Shared, Submit
from crimson_protocol.wire.messages.unmask import OpenedShare, OpenedShares, Unmask

T = TypeVar("T")
Vectors = Callable[[int], NDArray[np.float32]]
Entropy = secrets.token_bytes


@dataclass
class Site:
    """One node: its keys, what it dealt, what it opened, and what each step cost in CPU seconds."""

    index: int
    identity: IdentityKey = field(default_factory=lambda: IdentityKey.fresh(Entropy))
    cpu: dict[str, float] = field(default_factory=dict)
    sent: int = 0
    secrets: AttemptSecrets = field(init=False)
    advertised: Advertise = field(init=False)
    state: SharesDealt = field(init=False)
    share: Share = field(init=False)
    opened: Opened = field(init=False)

    def timed(self, name: str, step: Callable[[], T]) -> T:
        """The step's result; its CPU seconds are added under `name`."""
        start = time.process_time()
        result = step()
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - start
        return result

    def advertise(self, terms: Terms) -> None:
        """Fresh keys, commitments, and the signed message that shows them."""
        self.secrets = AttemptSecrets(RoundRoot.fresh(Entropy), Secret.fresh(Entropy), BoxKey.fresh(Entropy))
        self.advertised = Advertise(
            terms.offer_digest,
            self.index,
            self.secrets.root.mask_key().public,
            self.secrets.share_key.public,
            commit(ROOT_COMMITMENT, self.secrets.root),
            commit(SELF_COMMITMENT, self.secrets.seed),
        )
        self.sent += len(sign_message(self.identity, self.index, self.advertised))

    def deal(self, agreement: Agreement, member: Member) -> None:
        """Shamir shares and pair secrets, sealed to their recipients, under one signed manifest."""
        rows, own = deal_rows(self.secrets, member.index, agreement, Entropy)
        root = merkle_root([row.leaf().to_bytes() for row in rows])
        manifest = Manifest(agreement.t0, self.index, len(rows), root)
        self.share = Share(sign_message(self.identity, self.index, manifest), rows)
        self.sent += len(sign_message(self.identity, self.index, self.share))
        nothing = Update(MODEL, bytes(32), np.empty(0, np.float32), 1)
        self.state = SharesDealt(nothing, agreement, NOBODY, self.secrets, root, own)


@dataclass
class Relay:
    """The spool of pair boxes, and each node's deliveries with their proofs."""

    sites: list[Site]
    boxes: dict[tuple[int, int], bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.boxes = {
            (site.index, row.recipient): row.pair_box
            for site in self.sites
            for row in site.share.rows
            if row.pair_box
        }

    def pair_box(self, dealer: int, recipient: int) -> bytes:
        return self.boxes[dealer, recipient]

    def vector(self, node: int) -> Iterator[bytes]:
        raise LookupError(f"vector of node {node}")

    def shared(self, dealt: Dealt) -> dict[int, Shared]:
        """What the enclave says to every node after Share."""
        deliveries: dict[int, list[Delivery]] = {site.index: [] for site in self.sites}
        for site in self.sites:
            tree = MerkleLog(leaf_hash(row.leaf().to_bytes()) for row in site.share.rows)
            for place, row in enumerate(site.share.rows):
                if row.recipient != site.index:
                    path = tree.inclusion_proof(place, tree.size)
                    deliveries[row.recipient].append(Delivery(site.index, site.share.manifest, row, path))
        t0 = dealt.agreement.t0
        return {node: Shared(t0, dealt.dealers, tuple(rows)) for node, rows in deliveries.items()}


def run_round(n: int, d: int, k: int, dropout: float, seed: int, float_vectors: Vectors) -> dict[str, Any]:
    """One round of n nodes over d parameters; a share `dropout` of them vanishes after Share.

    Times in CPU seconds, sizes in bytes. Keys: key pairs, shares, seals, signatures, and opening what the
    others dealt with all its checks. Mask: clip, encode, derive, expand, add. Sum: absorb with digest.
    Unmask: open and check shares, rebuild, unmask, check, decode. `result` is the survivors' mean.
    """
    gone = set(random.Random(seed).sample(range(n), round(n * dropout)))
    alive = [node for node in range(n) if node not in gone]
    # Crimson clips by L2 norm where the peers clip each value; this clip changes no vector.
    clip = 1.001 * max(float(np.linalg.norm(float_vectors(node))) for node in alive)
    round_key, sites = BoxKey.fresh(Entropy), [Site(node) for node in range(n)]
    terms = make_terms([site.identity for site in sites], round_numbers(n, d, clip), round_key)
    dealt, relay = _exchange(sites, terms, k, seed)
    sums = BucketSums(terms.layout, dealt.agreement.graph.buckets)
    for node in alive:
        _submit(sites[node], dealt, float_vectors(node), sums)
    state = _unmasking(sites, dealt, alive, round_key, sums)
    answers = [_unmask(sites[node], state.judged, round_key) for node in alive]
    opener = Site(n)
    result = opener.timed("unmask", lambda: _open(state, answers, terms, relay))
    keys, masks = [site.cpu["keys"] for site in sites], [sites[node].cpu["mask"] for node in alive]
    return {
        "node_keys_s": median(keys),
        "node_open_s": median(site.cpu["open"] for site in sites),
        "node_mask_s": median(masks),
        "node_mask_min_s": min(masks),
        "server_sum_s": sum(sites[node].cpu["sum"] for node in alive),
        "server_unmask_s": opener.cpu["unmask"],
        "up_bytes": median(sites[node].sent for node in alive),
        "value_bits": terms.offer.numbers.value_bits,
        "quantum": clip / 2**terms.offer.numbers.value_bits,
        "result": result,
    }


def _exchange(sites: list[Site], terms: Terms, degree: int, seed: int) -> tuple[Dealt, Relay]:
    """Advertise, share, and open what was dealt: everything before the vectors."""
    for site in sites:
        site.timed("keys", lambda site=site: site.advertise(terms))
    advertised = {site.index: site.advertised for site in sites}
    agreement = make_agreement(terms, advertised, degree, seed)
    members = [Member(site.index, site.identity, site.secrets.share_key, terms.policy) for site in sites]
    for site, member in zip(sites, members, strict=True):
        site.timed("keys", lambda site=site, member=member: site.deal(agreement, member))
    dealers = tuple(Dealer(site.index, site.state.rows_root) for site in sites)
    dealt, relay = Dealt(agreement, dealers, t1(agreement.t0, dealers)), Relay(sites)
    shared = relay.shared(dealt)
    for site, member in zip(sites, members, strict=True):
        said = shared.pop(site.index)
        site.opened = site.timed(
            "open",
            lambda site=site, member=member, said=said: open_deliveries(site.state, member, dealt, said),
        )
        site.cpu["keys"] += site.cpu["open"]
    return dealt, relay


def _masked(state: SharesDealt, site: Site, dealt: Dealt, fill: Fill) -> memoryview:
    vector = encode_update(state.update, dealt.agreement.terms.layout, fill)
    return mask(state, site.index, dealt, site.opened.pairs, vector)


def _submit(site: Site, dealt: Dealt, values: NDArray[np.float32], sums: BucketSums) -> None:
    """Mask one vector and let the enclave add it; the node's own digest of it is in neither time."""
    state = replace(site.state, update=replace(site.state.update, parameters=values))
    fill = keystream_fill(Secret.fresh(Entropy), SUITE)
    payload = site.timed("mask", lambda: _masked(state, site, dealt, fill))
    digest = hashlib.sha256(payload).digest()
    header = Submit(dealt.t1, site.index, digest, len(payload))
    site.sent += len(payload) + len(sign_message(site.identity, site.index, header))
    site.timed("sum", lambda: sums.absorb(site.index, _pieces(payload), digest))


def _pieces(payload: memoryview, size: int = 1 << 18) -> Iterator[memoryview]:
    return (payload[start : start + size] for start in range(0, len(payload), size))


def _unmasking(
    sites: list[Site], dealt: Dealt, alive: list[int], round_key: BoxKey, sums: BucketSums
) -> Unmasking:
    """The enclave after a quorum confirmed that exactly `alive` submitted."""
    gone = tuple(site.index for site in sites if site.index not in set(alive))
    v = secrets.token_bytes(32)
    verdict = Verdict(bytes(32), tuple(alive), gone, (), (), ())
    judged = Judged(Frozen(dealt, dict.fromkeys(alive, bytes(32)), bytes(32)), verdict, v)
    dealings = {
        site.index: Dealing(
            site.share.manifest, site.state.rows_root, tuple(row.leaf() for row in site.share.rows)
        )
        for site in sites
    }
    return Unmasking(judged, RoundSecrets(IdentityKey.fresh(Entropy), round_key, bytes(32)), dealings, sums)


def _unmask(site: Site, judged: Judged, round_key: BoxKey) -> Unmask:
    """Confirm and Unmask of one node: the share that the verdict opens, of every owner it holds one of."""
    offer = judged.agreement.terms.offer
    confirm = Confirm(offer.federation, offer.model, offer.round, site.index, judged.v)
    shares = tuple(
        OpenedShare(owner, (held.self_share if which == "self" else held.root_share).reveal())
        for owner, held in sorted(site.opened.held.items())
        if (which := judged.opens(owner)) is not None
    )
    box = seal_opened(round_key.public, judged.v, site.index, OpenedShares(shares).to_bytes())
    answer = Unmask(judged.v, site.index, box)
    site.sent += sum(len(sign_message(site.identity, site.index, message)) for message in (confirm, answer))
    return answer


def _open(state: Unmasking, answers: list[Unmask], terms: Terms, relay: Relay) -> NDArray[np.float32]:
    """The mean over the survivors: with a base of zeros and weights of one, that is what averaging gives."""
    for answer in answers:
        state, bad = take_unmask(state, answer)
        assert not bad
    base = Artifact.of(np.zeros(terms.offer.numbers.parameters, np.float32)).to_bytes()
    found = aggregate(terms.rules, "fedavg", base, Memory(), open_totals(state, relay), None)
    return Artifact.from_bytes(found.artifact, MAX_ARTIFACT).vector()
