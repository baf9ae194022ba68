"""Which verdicts may be confirmed, and what a verdict opens. The rules that a broken enclave runs into.

The node checks them before its one signature (docs/PROTOCOL.md, step 9); the enclave uses the same
functions to compose a verdict that honest nodes will confirm.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from crimson_protocol import transcript
from crimson_protocol.agreement import Agreement, Dealt
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.messages.confirm import Freeze, Verdict


@dataclass(frozen=True)
class Frozen:
    """One attempt after Freeze: whose vector counts, by digest, and T2."""

    dealt: Dealt
    digests: Mapping[int, bytes]
    t2: bytes


@dataclass(frozen=True)
class Judged:
    """One attempt after Verdict: how every node ends, and V."""

    frozen: Frozen
    verdict: Verdict
    v: bytes

    @property
    def agreement(self) -> Agreement:
        return self.frozen.dealt.agreement

    def opens(self, owner: int) -> str | None:
        """Which of the owner's secrets its holders open: "self", "root", or None.

        Accepted: b. Dropped or rejected with an accepted mask neighbour: R. Never both.
        """
        if owner in self._accepted:
            return "self"
        neighbours = self.agreement.graph.neighbours.get(owner, frozenset())
        return None if neighbours.isdisjoint(self._accepted) else "root"

    @cached_property
    def _accepted(self) -> frozenset[int]:
        return frozenset(self.verdict.accepted)


def _refuse(code: Refusal, text: str) -> PeerFault:
    return PeerFault(code, text, "enclave")


def freeze(dealt: Dealt, message: Freeze) -> Frozen:
    """Check a Freeze (step 7). Raises PeerFault(WRONG_CONTEXT, SETS_DO_NOT_PARTITION) on the enclave."""
    if message.t1 != dealt.t1:
        raise _refuse(Refusal.WRONG_CONTEXT, "the freeze is about another T1")
    digests = {submission.node: submission.digest for submission in message.submissions}
    if not set(digests) <= dealt.nodes:
        raise _refuse(Refusal.SETS_DO_NOT_PARTITION, "a vector is frozen for a node that did not share")
    return Frozen(dealt, digests, transcript.t2(dealt.t1, message))


def judge(frozen: Frozen, verdict: Verdict) -> Judged:
    """Check a Verdict (steps 9.1 to 9.5), or PeerFault on the enclave."""
    # 9.1: it is about these frozen inputs.
    if verdict.t2 != frozen.t2:
        raise _refuse(Refusal.WRONG_CONTEXT, "the verdict is about another T2")
    agreement = frozen.dealt.agreement
    accepted, dropped, rejected = map(set, (verdict.accepted, verdict.dropped, verdict.rejected))
    # 9.2: the sets partition T1's set, and only nodes without a frozen vector are dropped.
    if len(accepted) + len(dropped) + len(rejected) != len(accepted | dropped | rejected):
        raise _refuse(Refusal.SETS_DO_NOT_PARTITION, "a node stands in two sets")
    if accepted | rejected != set(frozen.digests) or accepted | rejected | dropped != frozen.dealt.nodes:
        raise _refuse(Refusal.SETS_DO_NOT_PARTITION, "the sets do not partition the nodes that shared")
    # 9.3: enough accepted nodes. 9.4: every bucket is open with enough of them, or closed with none.
    if len(accepted) < agreement.smallest_cohort():
        raise _refuse(
            Refusal.COHORT_TOO_SMALL, f"{len(accepted)} accepted, {agreement.smallest_cohort()} needed"
        )
    if closed_buckets(agreement, accepted) != verdict.closed:
        raise _refuse(
            Refusal.BUCKET_TOO_SMALL, "a bucket is open with too few accepted nodes, or closed with some"
        )
    # 9.5: on a sparse graph every accepted node keeps enough accepted neighbours.
    for node in sorted(accepted):
        if len(agreement.graph.neighbours[node] & accepted) < _live_degree(agreement, node):
            raise _refuse(Refusal.DEGREE_TOO_SMALL, f"node {node} has too few accepted neighbours")
    return Judged(frozen, verdict, transcript.verdict_hash(verdict))


def closed_buckets(agreement: Agreement, accepted: Iterable[int]) -> tuple[int, ...] | None:
    """Places of the buckets without any accepted node; None where one has some, but fewer than its floor."""
    chosen, closed = set(accepted), []
    for place, bucket in enumerate(agreement.graph.buckets):
        count = len(chosen & set(bucket))
        if 0 < count < agreement.open_floor(bucket):
            return None
        if not count:
            closed.append(place)
    return tuple(closed)


def acceptable(agreement: Agreement, candidates: Iterable[int]) -> frozenset[int]:
    """The largest subset of `candidates` that a verdict may accept: buckets below their floor and nodes
    below the live degree are left out until nothing changes."""
    kept = set(candidates)
    while True:
        full = {
            node
            for bucket in agreement.graph.buckets
            if len(kept & set(bucket)) >= agreement.open_floor(bucket)
            for node in kept & set(bucket)
        }
        live = {
            node
            for node in full
            if len(agreement.graph.neighbours[node] & full) >= _live_degree(agreement, node)
        }
        if live == kept:
            return frozenset(kept)
        kept = live


def _live_degree(agreement: Agreement, node: int) -> int:
    return agreement.live_degree(agreement.bucket_of(node))
