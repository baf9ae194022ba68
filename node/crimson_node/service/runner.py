"""The node's loop: follow the policy, vouch for the enclave, train when called, and take part in each attempt."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from crimson_node.agent import Agent, Reply
from crimson_node.member import Update
from crimson_node.outbox import Kept
from crimson_node.service.attestation import Attestation
from crimson_node.service.correspondence import Correspondence
from crimson_node.service.events import Report, say, warn
from crimson_node.service.library import Library
from crimson_node.service.membership import Membership
from crimson_node.service.reading import own_kind, unverified, unverified_log_size
from crimson_node.service.stopping import Stop
from crimson_node.service.training import Training
from crimson_node.state import Confirmed, Finished, FrozenInputs, Opened, Ready, Submitted
from crimson_node.transport.backoff import Backoff
from crimson_node.transport.client import Body
from crimson_node.transport.errors import Problem
from crimson_node.transport.gateway import Gateway
from crimson_protocol.errors import CallerFault, CrimsonError, PeerFault, PolicyRefusal
from crimson_protocol.evidence.validate import Appraisal
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.web import GATHERING, Call, Letter

OWING = Submitted | FrozenInputs | Confirmed | Opened
"""After its vector left, others wait for this node's confirmation and shares."""
PAYLOAD_MISSING, PAYLOAD_TRIES = "payload-missing", 3
ALARMS = frozenset(
    {
        Refusal.POLICY_REJECTED,
        Refusal.POLICY_WENT_BACK,
        Refusal.NUMBERS_DIFFER,
        Refusal.MODEL_REJECTED,
        Refusal.LOG_WENT_BACK,
        Refusal.SECOND_INSTANCE,
        Refusal.EVIDENCE_REJECTED,
    }
)
"""Refused letters that mean a split view. Any other may be the relay's noise, and is passed over."""


@dataclass
class Runner:
    """One node at work. `patience`: refusals in a row before it gives up; `pauses`: seconds between them."""

    gateway: Gateway
    membership: Membership
    attestation: Attestation
    library: Library
    training: Training
    stop: Stop
    report: Report
    poll: int
    patience: int = 3
    pauses: Sequence[float] = (1.0, 3.0)
    backoff: Backoff = field(default_factory=lambda: Backoff(first=1.0, longest=60.0))
    rounds: int = 0
    _last_call: int = 0
    _refused: int = 0
    _problems: int = 0

    def run(self) -> None:
        """Work until a stop is asked for (StopRequested) or an error ends it.

        Raises TransportFailed, DataFault, BadConfiguration at once; PeerFault and PolicyRefusal where refusals
        come `patience` times with no finished round between.
        """
        begun = False
        while True:
            try:
                if not begun:
                    self._begin()
                    begun = True
                self._serve_next()
            except (PeerFault, PolicyRefusal) as fault:
                self._refuse(fault)
            except Problem as problem:
                if not begun:
                    raise
                self._noted(problem, "round")
                self._problems += 1
                with self.stop.interruptible():
                    self.stop.pause(self.backoff.pause(self._problems))

    def _begin(self) -> None:
        with self.stop.interruptible():
            agent = self.membership.refresh()
            self._send_again(agent)
            self.attestation.fresh(agent)
        say(self.report, "waiting-for-calls", node=agent.member.name)

    def _send_again(self, agent: Agent) -> None:
        """After a kill: the Submit that was not acknowledged goes out with the same bytes, or never."""
        kept = agent.unsent()
        if kept is None:
            return
        say(self.report, "sending-again", model=kept.model, round=kept.round, digest=kept.digest.hex())
        self._submit(agent, kept, kept.relay_round)

    def _serve_next(self) -> None:
        with self.stop.interruptible():
            call = self.gateway.call(self._last_call, self.poll)
        if call is None:
            return
        if call.round_id != self._last_call + 1:
            # Rounds went by unseen, and with them perhaps a release.
            self.library.doubt()
        self._take(call)
        self._last_call = call.round_id

    def _take(self, call: Call) -> None:
        say(self.report, "called", id=call.round_id, model=call.model, state=call.state)
        letters = Correspondence(self.gateway, self.stop, call, call.state)
        update: Update | None = None
        if letters.wait_for_gathering(self.poll):
            with self.stop.interruptible():
                agent, appraisal = self._vouch()
                update = self._train(agent, call.model, appraisal)
            if update is None:
                self._sit_out(letters)
            elif letters.wait_for_gathering(self.poll):
                self._join(letters, update)
                self._correspond(letters, update)
        self._end(letters)

    def _vouch(self) -> tuple[Agent, Appraisal]:
        agent = self.membership.refresh()
        return agent, self.attestation.fresh(agent)

    def _train(self, agent: Agent, model: str, appraisal: Appraisal) -> Update | None:
        say(self.report, "training", model=model)
        update = self.training.update(agent, model, appraisal)
        if update is None:
            warn(self.report, "sitting-out", model=model, code="needs-a-release-first")
        else:
            say(self.report, "trained", model=model)
        return update

    def _sit_out(self, letters: Correspondence) -> None:
        while not letters.over:
            letters.read(self.poll)

    def _join(self, letters: Correspondence, update: Update) -> None:
        """Ready for the next attempt, under fresh evidence: the enclave may be another instance by now."""
        with self.stop.interruptible():
            agent, appraisal = self._vouch()
            agent.prepare(update, appraisal, letters.call.round_id)
            try:
                self.gateway.ready(letters.call.round_id)
            except Problem as problem:
                self._noted(problem, "ready")
        say(self.report, "ready", id=letters.call.round_id, model=update.model)

    def _correspond(self, letters: Correspondence, update: Update) -> None:
        """Letters and replies until the round is over; after an abort the same update is offered again."""
        while True:
            agent, before = self._agent(), letters.state
            came = letters.read(self.poll, owing=isinstance(agent.state, OWING))
            for letter in came:
                self._answer(letters, letter)
            if letters.over:
                return
            if letters.state == GATHERING:
                if came or before != GATHERING:
                    self._join(letters, update)
                else:
                    self._renew(letters, update)

    def _renew(self, letters: Correspondence, update: Update) -> None:
        """While a round gathers, the enclave may have started anew, and needs endorsements before it can offer."""
        agent = self._agent()
        known = agent.state.appraisal if isinstance(agent.state, Ready) else None
        with self.stop.interruptible():
            appraisal = self.attestation.fresh(agent)
        if known is None or known.claims_digest != appraisal.claims_digest:
            self._join(letters, update)

    def _answer(self, letters: Correspondence, letter: Letter) -> None:
        agent = self._agent()
        message = unverified(letter.data, len(agent.member.policy.roster))
        name = type(message).__name__ if message is not None else "unreadable"
        try:
            reply = agent.receive(letter.data, self._proof(agent, unverified_log_size(message)))
        except PeerFault as fault:
            warn(self.report, "refused", message=name, code=fault.code.value, culprit=fault.culprit)
            if fault.code in ALARMS:
                self._count(fault)
            return
        except CallerFault as fault:
            # The update does not fit what is offered: the policy changed after it was made.
            warn(self.report, "refused", message=name, code=fault.code.value, culprit=None)
            self._count(fault)
            return
        say(self.report, "received", message=name, phase=agent.state.phase.value)
        if reply is not None:
            self._send(agent, letters, reply)
        if isinstance(agent.state, Finished):
            self.library.save(agent, agent.state)
            self._refused, self._problems, self.rounds = 0, 0, self.rounds + 1

    def _proof(self, agent: Agent, size: int) -> Sequence[bytes]:
        """The log from what was seen last to what an offer rests on; only an offer is judged by it."""
        if not isinstance(agent.state, Ready) or size == 0:
            return ()
        return self.gateway.consistency(agent.last_log_size, size)

    def _send(self, agent: Agent, letters: Correspondence, reply: Reply) -> None:
        if reply.payload is not None:
            if agent.kept is None:
                raise AssertionError("a vector that is not in the outbox")
            self._submit(agent, agent.kept, letters.call.round_id)
            return
        try:
            self.gateway.post_envelope(letters.call.round_id, reply.control)
            say(self.report, "told", message=own_kind(reply.control))
        except Problem as problem:
            self._noted(problem, "envelope")

    def _submit(self, agent: Agent, kept: Kept, round_id: int) -> None:
        """The vector from the outbox, then its header; the relay's word for it ends the outbox's duty."""
        body = Body.file(agent.outbox.vector, kept.length, kept.digest)
        say(self.report, "sending", digest=kept.digest.hex(), bytes=kept.length)
        for _ in range(PAYLOAD_TRIES):
            try:
                self.gateway.put_payload(round_id, body)
                self.gateway.post_envelope(round_id, kept.header)
                say(self.report, "sent", message="Submit", digest=kept.digest.hex(), bytes=kept.length)
                break
            except Problem as problem:
                self._noted(problem, "submit")
                if problem.code != PAYLOAD_MISSING:
                    break
        agent.outbox.acknowledged()

    def _end(self, letters: Correspondence) -> None:
        agent, model = self._agent(), letters.call.model
        finished = isinstance(agent.state, Finished) and agent.state.model == model
        if letters.state == "released" and not finished:
            self.library.doubt(model)
        agent.outbox.clear()
        say(self.report, "round-over", id=letters.call.round_id, model=model, state=letters.state)

    def _agent(self) -> Agent:
        if self.membership.agent is None:
            raise AssertionError("no policy was verified yet")
        return self.membership.agent

    def _noted(self, problem: Problem, what: str) -> None:
        """A refusal by the relay changes nothing here: the round's mail says how it goes on."""
        warn(self.report, "gateway-refused", what=what, status=problem.status, code=problem.code)

    def _refuse(self, fault: PeerFault | PolicyRefusal) -> None:
        culprit = fault.culprit if isinstance(fault, PeerFault) else None
        warn(self.report, "refused", code=fault.code.value, culprit=culprit, reason=fault.text)
        # What was refused may rest on an older view than the federation's.
        self.library.doubt()
        self._count(fault)
        self._pause()

    def _pause(self) -> None:
        with self.stop.interruptible():
            self.stop.pause(self.pauses[min(max(1, self._refused), len(self.pauses)) - 1])

    def _count(self, fault: CrimsonError) -> None:
        self._refused += 1
        if self._refused >= self.patience:
            raise fault
