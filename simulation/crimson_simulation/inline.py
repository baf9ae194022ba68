"""The inline engine: the same messages as between processes, relayed in memory. No isolation, and it says so."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from crimson_enclave.dispatch import UntrustedFrame
from crimson_enclave.event_log import EventLog
from crimson_enclave.instance import Attester, Instance
from crimson_enclave.session import Session
from crimson_enclave.state import Aborted, Released, terms_of
from crimson_node.agent import Agent, Reply
from crimson_node.journal import Journal
from crimson_node.member import Member, Update
from crimson_node.service.reading import unverified, unverified_log_size
from crimson_node.state import Finished
from crimson_protocol.errors import PeerFault
from crimson_protocol.evidence.format import Measure
from crimson_protocol.evidence.validate import Appraisal
from crimson_protocol.exposure import sketched_round
from crimson_protocol.policy.document import MICRO
from crimson_protocol.policy.update import Trust, update
from crimson_simulation.attacks.carried_out import CarriedOut
from crimson_simulation.attacks.registry import Attack
from crimson_simulation.contributions import Contributions
from crimson_simulation.engine import Drop, Progress, RoundLost, RunFacts, Traffic
from crimson_simulation.parties import Parties, now
from crimson_simulation.spool import DirectorySpool
from crimson_simulation.witness import Witness

ATTEMPTS = 3
ENDING = ("confirm", "unmask", "release")
NOT_ISOLATED = (Measure("own-process", False), Measure("no-network", False), Measure("seccomp", False))


class InlineEngine:
    """Plays rounds between a federation's parties in one process; the only relay there is, and as untrusted
    as any. Raises PolicyRefusal for a policy that the enclave does not implement."""

    def __init__(
        self,
        parties: Parties,
        out: Path,
        progress: Progress = lambda _: None,
        attack: Attack | None = None,
        seed: int = 0,
    ) -> None:
        self.attack = CarriedOut(attack, len(parties.names), seed, os.urandom)
        self.parties, self.progress = parties, progress
        self.traffic, self.witness = Traffic(), Witness()
        self.refusals: list[PeerFault] = []
        self.dropped: list[Drop] = []
        self.spool = DirectorySpool(out / "spool", len(parties.names))
        self.session = self._enclave()
        self.agents = [self._site(index, out) for index in range(len(parties.names))]
        self._contributions = Contributions(parties, self.attack.rows(parties.rows))
        self._appraisals: dict[int, Appraisal] = {}
        self._last_release = b""

    def _enclave(self) -> Session:
        policy, log = self.parties.policy, EventLog()
        attester = Attester(self.parties.root, self.parties.measurement, NOT_ISOLATED)
        return Session(
            policy=policy,
            instance=Instance.start(policy, log.checkpoint(), attester, os.urandom),
            artifacts=dict(self.parties.initials),
            spool=self.spool,
            clock=now,
            entropy=os.urandom,
            observer=self.witness.saw_opened,
            log=log,
        )

    def _site(self, index: int, out: Path) -> Agent:
        # Every node verifies the signed policy for itself.
        policy = update(Trust.anchored(self.parties.anchor), self.parties.bundle, now()).policy
        keys, home = self.parties.keys[index], out / "nodes" / f"{index:03d}"
        member = Member(index, keys.identity, keys.encryption, policy)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "journal").unlink(missing_ok=True)
        journal, seen = Journal(home / "journal"), self.witness.saw_encoded
        return Agent(member, journal, home / "outbox", now, os.urandom, seen, self.attack.encoder(index))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        pass

    def run_round(self, model: str, drops: Mapping[int, str] | None = None) -> bytes:
        """One round of `model`; the artifact that every finished node opened. Raises RoundLost.

        `drops` names nodes that vanish after "share" or "submit", in every attempt of the round.
        """
        self.progress("train")
        base = self.session.base(model)
        honest = {index: self._contributions.update(model, base, index) for index in range(len(self.agents))}
        updates = self._attacked(model, honest)
        for attempt in range(ATTEMPTS):
            artifact = self._attempt(model, updates, honest, drops or {}, again=attempt > 0)
            if artifact is not None:
                self._contributions.released(model, artifact)
                return artifact
            state = self.session.state
            if not (isinstance(state, Aborted) and state.again):
                break
        state = self.session.state
        raise RoundLost(model, state.code.value if isinstance(state, Aborted) else "not-opened")

    def facts(self) -> RunFacts:
        """What happened so far."""
        session = self.session
        return RunFacts(
            isolated=session.instance.attester.isolated,
            measures=session.instance.attester.measures,
            receipt_key=session.instance.signing.public,
            receipts=tuple(session.receipts),
            leaves=tuple(session.log.leaves),
            release=self._last_release,
            dropped=tuple(self.dropped),
            refused=tuple(sorted({f"{fault.culprit}: {fault.code.value}" for fault in self.refusals})),
            traffic=self.traffic,
            sum_matches_plain=self.witness.sum_matches_plain,
        )

    def _attempt(
        self,
        model: str,
        updates: Mapping[int, Update],
        honest: Mapping[int, Update],
        drops: Mapping[int, str],
        *,
        again: bool,
    ) -> bytes | None:
        session, alive = self.session, set(updates)
        self.spool.clear()
        self.witness.start()
        self._catch_up(model)
        for index, trained in updates.items():
            self.agents[index].prepare(trained, self._appraised(index))
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
        self.attack.lie(self.agents, honest)
        phases = ("sketch", *ENDING) if sketched_round(session.policy.rules(model), place) else ENDING
        for phase in phases:
            self.progress(phase)
            messages = list(session.close())
            self._exchange(messages, alive)
            if isinstance(session.state, Released):
                self._last_release = messages[0][1]
            if isinstance(session.state, Released | Aborted):
                break
        return self._opened(alive)

    def _attacked(self, model: str, honest: Mapping[int, Update]) -> dict[int, Update]:
        rules = self.parties.policy.rules(model)
        if not rules.numbers.parameters:
            return dict(honest)
        round_ = self.session.places.get(model, (0, 0))[0] + 1
        return self.attack.updates(honest, rules.numbers.clip_micro / MICRO, round_)

    def _kill(self, phase: str, alive: set[int], drops: Mapping[int, str], place: int) -> None:
        for index in sorted(alive & {index for index, at in drops.items() if at == phase}):
            alive.discard(index)
            self.dropped.append(Drop(place, self.parties.names[index], phase))

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
                    reply = self.agents[index].receive(data, consistency(index))
                except PeerFault as fault:
                    self.refusals.append(fault)
                    alive.discard(index)
                    continue
                if reply is not None:
                    self._upload(index, reply)

    def _upload(self, index: int, reply: Reply) -> None:
        session, spool = self.session, self.spool
        self.traffic.control_up += len(reply.control)
        if reply.payload is None:
            spool.keep_control(index, reply.control)
            session.receive(UntrustedFrame(reply.control))
            return
        self.traffic.vectors_up += len(reply.payload)
        spool.keep_vector(index, reply.payload)
        session.receive(UntrustedFrame(reply.control, spool.vector(index)))

    def _opened(self, alive: set[int]) -> bytes | None:
        states = (self.agents[index].state for index in sorted(alive))
        return next((state.artifact for state in states if isinstance(state, Finished)), None)

    def _appraised(self, index: int) -> Appraisal:
        known = self._appraisals.get(index)
        if known is None or known.expires <= now():
            agent, instance = self.agents[index], self.session.instance
            evidence = instance.attester.attest(instance.claims, agent.challenge(), now())
            known = self._appraisals[index] = agent.appraise(evidence)
            proof = self._proof(agent.last_log_size, known.checkpoint.size)
            self.session.endorse(agent.endorse(known, proof))
        return known

    def _catch_up(self, model: str) -> None:
        """Nodes that missed a release of what the round starts from take it from the relay."""
        session = self.session
        base = session.policy.rules(model).base or model
        release = session.published.get(base)
        if release is None:
            return
        size = unverified_log_size(unverified(release, len(self.agents)))
        for index in range(len(self.agents)):
            agent, last = self.agents[index], self.agents[index].seen.released.get(base)
            if last is None or last.round < session.places[base][0]:
                with suppress(PeerFault):
                    agent.adopt(release, self._appraised(index), self._proof(agent.last_log_size, size))

    def _proof(self, first: int, second: int) -> Sequence[bytes]:
        return self.session.log.tree.consistency_proof(*sorted((first, second)))

    def _consistency(self, index: int) -> Sequence[bytes]:
        session = self.session
        if session.state is None:
            return ()
        offered = terms_of(session.state).offer.checkpoint.size
        return session.log.tree.consistency_proof(self.agents[index].last_log_size, offered)
