"""The inline engine: the same messages as between processes, relayed in memory. No isolation, and it says so."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from crimson_enclave.dispatch import UntrustedFrame
from crimson_enclave.state import Aborted, Released, terms_of
from crimson_node.agent import Agent, Reply
from crimson_node.member import Update
from crimson_node.state import Finished
from crimson_protocol.errors import PeerFault
from crimson_protocol.events import SignedCheckpoint
from crimson_protocol.evidence.validate import Appraisal
from crimson_protocol.wire.envelope import MAX_BODY, Envelope
from crimson_protocol.wire.messages.release import Release
from crimson_simulation.federation import Federation, now

ATTEMPTS = 3
Contribute = Callable[[int], Update]
Progress = Callable[[str], None]


class RoundLost(Exception):
    """No attempt of a round released anything; `code` is why."""

    def __init__(self, model: str, code: str) -> None:
        super().__init__(f"a round of {model} ended without a release: {code}")
        self.code = code


@dataclass
class Traffic:
    """Bytes that the relay carried."""

    control_up: int = 0
    vectors_up: int = 0
    down: int = 0


@dataclass(frozen=True)
class Drop:
    """A node that was killed in mid-round, and after which phase."""

    round: int
    node: str
    phase: str


@dataclass
class InlineEngine:
    """Plays rounds between a federation's parties; the only relay there is, and as untrusted as any."""

    federation: Federation
    progress: Progress = field(default=lambda _: None)
    traffic: Traffic = field(default_factory=Traffic)
    refusals: list[PeerFault] = field(default_factory=list)
    dropped: list[Drop] = field(default_factory=list)
    _appraisals: dict[int, Appraisal] = field(default_factory=dict)

    def run_round(self, model: str, contribute: Contribute, drops: Mapping[int, str] | None = None) -> bytes:
        """One round of `model`; the artifact that every finished node opened. Raises RoundLost.

        `drops` names nodes that vanish after "share" or "submit", in every attempt of the round.
        """
        drops = drops or {}
        self.progress("train")
        updates = {index: contribute(index) for index in range(len(self.federation.nodes))}
        for attempt in range(ATTEMPTS):
            artifact = self._attempt(model, updates, drops, again=attempt > 0)
            if artifact is not None:
                return artifact
            state = self.federation.session.state
            if not (isinstance(state, Aborted) and state.again):
                break
        state = self.federation.session.state
        raise RoundLost(model, state.code.value if isinstance(state, Aborted) else "no node opened it")

    def _attempt(
        self, model: str, updates: Mapping[int, Update], drops: Mapping[int, str], *, again: bool
    ) -> bytes | None:
        session, alive = self.federation.session, set(updates)
        self.federation.spool.clear()
        self.federation.witness.start()
        self._catch_up(model)
        for index, update in updates.items():
            self._agent(index).prepare(update, self._appraised(index))
        offer = session.open(model, again=again)
        place = session.places[model][0]
        self.progress("advertise")
        self._exchange([(None, offer)], alive, self._consistency)
        self.progress("share")
        self._exchange(session.close(), alive)
        self._kill("share", alive, drops, place)
        self.progress("submit")
        self._exchange(session.close(), alive)
        self._kill("submit", alive, drops, place)
        for phase in ("confirm", "unmask", "release"):
            self.progress(phase)
            messages = list(session.close())
            self._exchange(messages, alive)
            if isinstance(session.state, Released | Aborted):
                break
        return self._opened(alive)

    def _kill(self, phase: str, alive: set[int], drops: Mapping[int, str], place: int) -> None:
        for index in sorted(alive & {index for index, at in drops.items() if at == phase}):
            alive.discard(index)
            self.dropped.append(Drop(place, self.federation.nodes[index].name, phase))

    def _exchange(
        self,
        messages: Iterable[tuple[int | None, bytes]],
        alive: set[int],
        consistency: Callable[[int], Sequence[bytes]] = lambda _: (),
    ) -> None:
        """Hand each message to its nodes and every reply to the enclave."""
        for recipient, data in messages:
            for index in sorted(alive if recipient is None else alive & {recipient}):
                self.traffic.down += len(data)
                try:
                    reply = self._agent(index).receive(data, consistency(index))
                except PeerFault as fault:
                    self.refusals.append(fault)
                    alive.discard(index)
                    continue
                if reply is not None:
                    self._upload(index, reply)

    def _upload(self, index: int, reply: Reply) -> None:
        session, spool = self.federation.session, self.federation.spool
        self.traffic.control_up += len(reply.control)
        if reply.payload is None:
            spool.keep_control(index, reply.control)
            session.receive(UntrustedFrame(reply.control))
            return
        self.traffic.vectors_up += len(reply.payload)
        spool.keep_vector(index, reply.payload)
        session.receive(UntrustedFrame(reply.control, spool.vector(index)))

    def _opened(self, alive: set[int]) -> bytes | None:
        states = (self._agent(index).state for index in sorted(alive))
        return next((state.artifact for state in states if isinstance(state, Finished)), None)

    def _agent(self, index: int) -> Agent:
        return self.federation.nodes[index].agent

    def _appraised(self, index: int) -> Appraisal:
        known = self._appraisals.get(index)
        if known is None or known.expires <= now():
            agent, instance = self._agent(index), self.federation.session.instance
            evidence = instance.attester.attest(instance.claims, agent.challenge(), now())
            known = self._appraisals[index] = agent.appraise(evidence)
            proof = self._proof(agent.last_log_size, known.checkpoint.size)
            self.federation.session.endorse(agent.endorse(known, proof))
        return known

    def _catch_up(self, model: str) -> None:
        """Nodes that missed a release of what the round starts from take it from the relay."""
        session = self.federation.session
        base = session.policy.rules(model).base or model
        release = session.published.get(base)
        if release is None:
            return
        size = _checkpoint_size(release)
        for index in range(len(self.federation.nodes)):
            agent, last = self._agent(index), self._agent(index).seen.released.get(base)
            if last is None or last.round < session.places[base][0]:
                with suppress(PeerFault):
                    agent.adopt(release, self._appraised(index), self._proof(agent.last_log_size, size))

    def _proof(self, first: int, second: int) -> Sequence[bytes]:
        return self.federation.session.log.tree.consistency_proof(*sorted((first, second)))

    def _consistency(self, index: int) -> Sequence[bytes]:
        session = self.federation.session
        if session.state is None:
            return ()
        offered = terms_of(session.state).offer.checkpoint.size
        return session.log.tree.consistency_proof(self._agent(index).last_log_size, offered)


def _checkpoint_size(release: bytes) -> int:
    """Size of the log under which a Release stands, as the relay reads it."""
    message = Release.from_bytes(Envelope.from_bytes(release, MAX_BODY).body, MAX_BODY)
    return SignedCheckpoint.from_bytes(message.checkpoint, 8192).checkpoint.size


def plan_drops(nodes: int, share: float, seed: int, round_: int) -> dict[int, str]:
    """Which nodes vanish in a round: a share of them, half after Share and half after Submit."""
    count = round(nodes * share)
    chosen = random.Random(f"{seed}/{round_}").sample(range(nodes), count)  # noqa: S311 simulated faults
    return {index: "share" if place < count / 2 else "submit" for place, index in enumerate(chosen)}
