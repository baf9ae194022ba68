"""The artifacts that a node trains on: verified, saved whole, and never another than the journal names."""

import hashlib
from dataclasses import dataclass, field

from crimson_node.agent import Agent
from crimson_node.durable import write_file
from crimson_node.home import NodeHome
from crimson_node.service.events import Report, say
from crimson_node.service.reading import unverified, unverified_log_size
from crimson_node.state import Finished
from crimson_node.transport.gateway import GATEWAY, Gateway
from crimson_protocol.artifact import MAX_ARTIFACT
from crimson_protocol.errors import PeerFault
from crimson_protocol.evidence.validate import Appraisal
from crimson_protocol.refusal import Refusal
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.release import Release


@dataclass
class Library:
    """Released artifacts on disk, and the policy's initial ones from the gateway."""

    home: NodeHome
    gateway: Gateway
    report: Report
    _known: set[str] = field(default_factory=set)
    _initial: dict[bytes, bytes] = field(default_factory=dict, repr=False)

    def doubt(self, model: str | None = None) -> None:
        """A release of the model, or of any, may have been missed: ask the gateway when it is needed."""
        if model is None:
            self._known.clear()
        else:
            self._known.discard(model)

    def base(self, agent: Agent, model: str, appraisal: Appraisal) -> bytes:
        """The artifact that the next round on `model` starts from. Raises PeerFault(MODEL_REJECTED) for another."""
        rules = agent.member.policy.rules(model)
        if rules.numbers.parameters:
            released = self.released(agent, model, appraisal)
            if released is not None:
                return released
        return self._fetch_initial(rules.initial_digest)

    def released(self, agent: Agent, model: str, appraisal: Appraisal) -> bytes | None:
        """The model's last released artifact, verified by this node; None where there is none yet."""
        if model not in self._known:
            self._catch_up(agent, model, appraisal)
            self._known.add(model)
        return self._saved(agent, model)

    def save(self, agent: Agent, finished: Finished) -> None:
        """Write a verified release: receipt first, so that an artifact is never there without it."""
        round_ = agent.seen.released[finished.model].round
        write_file(self.home.receipt(finished.model, round_), finished.receipt)
        write_file(self.home.artifact(finished.model), finished.artifact)
        self._known.add(finished.model)
        digest = model_digest(finished.artifact).hex()
        say(self.report, "released", model=finished.model, round=round_, artifact=digest)

    def _catch_up(self, agent: Agent, model: str, appraisal: Appraisal) -> None:
        release = self.gateway.release(model)
        last = agent.seen.released.get(model)
        if release is None:
            if last is not None and self._saved(agent, model) is None:
                text = f"the release of {model} that this node verified is gone"
                raise PeerFault(Refusal.MODEL_REJECTED, text, GATEWAY)
            return
        message = unverified(release, len(agent.member.policy.roster))
        if not isinstance(message, Release):
            raise PeerFault(Refusal.MALFORMED, "not a release", GATEWAY)
        if last is None or hashlib.sha256(message.receipt).digest() != last.receipt_digest:
            proof = self.gateway.consistency(agent.last_log_size, unverified_log_size(message))
            self.save(agent, agent.adopt(release, appraisal, proof))
        elif self._saved(agent, model) is None:
            # Killed between the journal's entry and the file.
            self.save(agent, agent.restore(release, appraisal))

    def _saved(self, agent: Agent, model: str) -> bytes | None:
        last, path = agent.seen.released.get(model), self.home.artifact(model)
        if last is None or not path.is_file() or path.stat().st_size > MAX_ARTIFACT:
            return None
        artifact = path.read_bytes()
        return artifact if model_digest(artifact) == last.output else None

    def _fetch_initial(self, digest: bytes) -> bytes:
        if digest not in self._initial:
            artifact = self.gateway.artifact(digest)
            if model_digest(artifact) != digest:
                text = "the gateway serves another initial artifact than the policy names"
                raise PeerFault(Refusal.MODEL_REJECTED, text, GATEWAY)
            self._initial[digest] = artifact
        return self._initial[digest]
