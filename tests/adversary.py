"""What adversaries can do in a federation of the playground: sign as nodes, break the enclave, keep the loot.

A *broken enclave* holds every key of the real one, so it signs what it likes and opens every Unmask box. A
*corrupt node* hands it all that it holds. What both together have is the `Loot`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from tests.playground import MODEL, Play, Said, entropy, parse

from crimson_enclave.dispatch import Fault, UntrustedFrame
from crimson_enclave.rounds.advertise import open_attempt
from crimson_enclave.state import Aborted, terms_of
from crimson_node.agent import Reply
from crimson_node.rounds.endorse import endorse
from crimson_node.seen import Seen, VerdictReleased
from crimson_protocol.crypto.labels import ROOT_COMMITMENT, SELF_COMMITMENT
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import unmask_info
from crimson_protocol.secret.commitments import commit
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import BoxKey, Secret
from crimson_protocol.secret.shamir import combine
from crimson_protocol.transcript import model_digest, t2, verdict_hash
from crimson_protocol.wire.messages.advertise import Checkpoint
from crimson_protocol.wire.messages.confirm import Confirm, Freeze, Verdict
from crimson_protocol.wire.messages.unmask import OpenedShares, Unmask, UnmaskRequest
from crimson_protocol.wire.records import Record


def others(federation: Play, *nodes: int) -> list[int]:
    """Everybody but `nodes`."""
    return [node for node in range(federation.nodes) if node not in nodes]


def as_node(federation: Play, node: int, message: Record) -> bytes:
    """Any message under a node's own signature."""
    return sign_message(federation.parties.identities[node], node, message)


def send(federation: Play, control: bytes, *payload: bytes) -> tuple[Fault, ...]:
    """One frame of the relay into the enclave."""
    return federation.session.receive(UntrustedFrame(control, payload))


def refusals(federation: Play, said: Iterable[Said], to: Iterable[int] | None = None) -> dict[int, PeerFault]:
    """Deliver and give only the refusals of this delivery."""
    federation.refused.clear()
    federation.deliver(said, to)
    return dict(federation.refused)


def refused_by(
    federation: Play, said: Iterable[Said], code: Refusal, to: Iterable[int] | None = None
) -> None:
    """Every addressed node refuses for `code` and names the enclave; none of them answers."""
    federation.refused.clear()
    chosen = list(range(federation.nodes)) if to is None else list(to)
    replies = federation.deliver(said, chosen)
    assert not replies
    assert {node: (fault.code, fault.culprit) for node, fault in federation.refused.items()} == dict.fromkeys(
        chosen, (code, "enclave")
    )


def finish(federation: Play, said: Iterable[Said], to: Iterable[int] | None = None) -> str:
    """Play on honestly from an undelivered message to the end; the enclave's last phase."""
    chosen = list(range(federation.nodes)) if to is None else list(to)
    for _ in range(7):
        federation.deliver(said, chosen)
        if federation.session.state.phase.value in ("Released", "Aborted"):
            break
        said = federation.close()
    return federation.session.state.phase.value


def vouch(federation: Play, node: int) -> bytes:
    """A node's Endorse of the running instance, whatever it saw or endorsed before."""
    agent, instance = federation.agents[node], federation.session.instance
    evidence = instance.attester.attest(instance.claims, agent.challenge(), federation.now)
    return endorse(agent.member, Seen(), agent.appraise(evidence), ())[1]


def believe(federation: Play, digest: bytes, to: Iterable[int] | None = None) -> None:
    """Nodes whose lineage check was passed by: they hold `digest` for the last verified release."""
    for index in range(federation.nodes) if to is None else to:
        journal = federation.agents[index]._journal
        release = VerdictReleased(MODEL, 0, bytes(32), bytes(32), digest, Checkpoint(0, bytes(32)))
        journal.seen = replace(journal.seen, released={MODEL: release})


def nothing_opened(federation: Play) -> None:
    """No sum, no artifact, no receipt, and no node believes otherwise."""
    assert not federation.opened
    assert not federation.session.receipts
    assert not any(agent.state.phase.value == "Finished" for agent in federation.agents)
    assert model_digest(federation.session.base(MODEL)) == federation.policy.models[0].initial_digest


def verdict(federation: Play, accepted: Iterable[int], said: list[Said], **changes: object) -> list[Said]:
    """Freeze and Verdict of a broken enclave that accepts `accepted` and rejects whoever else submitted."""
    (_, freeze), (_, honest) = said
    chosen = tuple(sorted(accepted))
    submitted = [item.node for item in parse(freeze).submissions]
    rejected = tuple(node for node in submitted if node not in chosen)
    forged = replace(parse(honest), accepted=chosen, rejected=rejected, **changes)
    return [(None, freeze), (None, federation.forge(forged))]


def claim_dropped(federation: Play, dropped: Iterable[int], said: list[Said]) -> list[Said]:
    """Freeze and Verdict of a broken enclave that hides the vectors of `dropped`."""
    (_, freeze), (_, honest) = said
    gone = set(dropped)
    hidden = parse(freeze)
    kept = tuple(item for item in hidden.submissions if item.node not in gone)
    hidden = Freeze(hidden.t1, kept)
    forged = replace(
        parse(honest),
        t2=t2(hidden.t1, hidden),
        accepted=tuple(item.node for item in kept),
        dropped=tuple(sorted(gone | set(parse(honest).dropped))),
        rejected=(),
    )
    return [(None, federation.forge(hidden)), (None, federation.forge(forged))]


def request(federation: Play, message: Verdict, confirmations: Iterable[bytes]) -> list[Said]:
    """An UnmaskRequest for any verdict with any confirmations."""
    return [(None, federation.forge(UnmaskRequest(verdict_hash(message), tuple(confirmations))))]


def confirmation(federation: Play, node: int, message: Verdict) -> bytes:
    """What a corrupt node signs for any verdict."""
    offer = terms_of(federation.session.state).offer
    body = Confirm(offer.federation, offer.model, offer.round, node, verdict_hash(message))
    return as_node(federation, node, body)


def force_attempt(federation: Play, place: tuple[int, int]) -> list[Said]:
    """A broken enclave opens an attempt wherever it likes, whatever was confirmed before."""
    session = federation.session
    session.state, offer = open_attempt(
        federation.policy,
        MODEL,
        place,
        model_digest(session.base(MODEL)),
        session.instance.claims,
        session.instance.attester.measurement,
        session.log.checkpoint(),
        session.suite,
        session.instance.signing.round_signer,
        session.entropy,
    )
    session.places[MODEL] = place
    federation.spool.vectors.clear()
    federation.spool.shares.clear()
    return [(None, offer)]


def lost_before_confirm(federation: Play) -> None:
    """The attempt ends before anybody confirmed."""
    terms = terms_of(federation.session.state)
    federation.session.state = Aborted(terms, Refusal.COHORT_TOO_SMALL, (), again=True)


def tampered(said: list[Said], change: Callable[[bytes], bytes]) -> list[Said]:
    """What the relay makes of messages."""
    return [(recipient, change(data)) for recipient, data in said]


def stranger() -> BoxKey:
    """A key that belongs to nobody."""
    return BoxKey.fresh(entropy("stranger"))


@dataclass
class Loot:
    """Shares that a broken enclave got of one attempt, by (owner, kind) and holder."""

    federation: Play
    round_key: BoxKey
    threshold: int
    commitments: dict[tuple[int, str], bytes]
    shares: dict[tuple[int, str], dict[int, bytes]] = field(default_factory=dict)

    @classmethod
    def of(cls, federation: Play) -> "Loot":
        """Taken while the attempt's keys are still there: once Freeze and Verdict are out."""
        state = federation.session.state
        agreement = state.judged.agreement
        known = {}
        for node, advertised in agreement.advertisements.items():
            known[node, "self"] = advertised.self_commitment
            known[node, "root"] = advertised.root_commitment
        return cls(federation, state.secrets.round_key, agreement.cohort.threshold, known)

    def open_boxes(self, replies: dict[int, Reply], message: Verdict) -> int:
        """Open every Unmask box among the replies with the round key; how many there were."""
        count = 0
        for node, reply in replies.items():
            body = parse(reply.control)
            if not isinstance(body, Unmask):
                continue
            count += 1
            plain = self.round_key.open(unmask_info(body.v, node), body.box)
            for opened in OpenedShares.from_bytes(plain, 1 << 20).shares:
                kind = "self" if opened.owner in message.accepted else "root"
                self.shares.setdefault((opened.owner, kind), {})[node] = opened.share
        return count

    def corrupt(self, node: int) -> None:
        """A corrupt node gives both shares of everything it holds."""
        for owner, held in self.federation.agents[node].state.held.items():
            self.shares.setdefault((owner, "self"), {})[node] = held.self_share.reveal()
            self.shares.setdefault((owner, "root"), {})[node] = held.root_share.reveal()

    def rebuilt(self) -> set[tuple[int, str]]:
        """Secrets that the loot really gives back, by trying."""
        found = set()
        for place, shares in self.shares.items():
            label = SELF_COMMITMENT if place[1] == "self" else ROOT_COMMITMENT
            secret = Secret(combine({holder + 1: share for holder, share in shares.items()}))
            if commit(label, secret) == self.commitments[place]:
                assert len(shares) >= self.threshold
                found.add(place)
        return found

    def naked(self) -> set[int]:
        """Owners both of whose secrets were rebuilt: their single vectors lie open."""
        found = self.rebuilt()
        return {owner for owner, _ in found if {(owner, "self"), (owner, "root")} <= found}


def turn(federation: Play, said: Iterable[Said], node: int, patch: Callable[[], object]) -> dict[int, Reply]:
    """Deliver to everybody else as it is, then call `patch` and deliver to `node`: what only it does wrong."""
    said = list(said)
    replies = federation.deliver(said, others(federation, node))
    patch()
    return {**replies, **federation.deliver(said, [node])}


def faults_of(federation: Play) -> list[tuple[str | None, Refusal]]:
    """Culprit and code of every fault that the enclave logged so far."""
    return [(fault.culprit, fault.code) for fault in federation.session.faults]
