"""The enclave between messages: which attempt is running, the log, the artifacts, the round high-water.

A thin shell over the pure steps. It holds the only mutable references of the enclave, takes clock and
entropy from its caller, and touches no socket or file.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from crimson_enclave.dispatch import GATEWAY, Fault, UntrustedFrame, receive
from crimson_enclave.event_log import EventLog
from crimson_enclave.instance import Clock, Instance
from crimson_enclave.publish import publish
from crimson_enclave.rounds.advertise import close_advertise, open_attempt
from crimson_enclave.rounds.confirm import close_confirm
from crimson_enclave.rounds.release import Observer, ReleaseFacts, release
from crimson_enclave.rounds.share import close_share
from crimson_enclave.rounds.submit import close_submit
from crimson_enclave.state import (
    Aborted,
    Advertising,
    Confirming,
    Sharing,
    Spool,
    State,
    Submitting,
    Unmasking,
    terms_of,
)
from crimson_enclave.strategies import refuse_unavailable
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import CallerFault
from crimson_protocol.policy.document import Policy
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.survivors import Judged
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.release import Abort

NO_RECEIPT = bytes(32)
MISPLACED = (Refusal.WRONG_PHASE, Refusal.WRONG_CONTEXT)
HEARD = 1 << 15
"""Control messages remembered, to tell a relay's replay from a node's fault."""

Outgoing = Iterator[tuple[int | None, bytes]]
"""Messages to relay: (roster index, or None for every node of the attempt; signed envelope)."""


@dataclass(frozen=True)
class Bound:
    """A verdict that nodes may have confirmed: they hold later rounds on the same model to its cohort."""

    model_digest: bytes
    accepted: frozenset[int]
    proofs: tuple[bytes, ...]
    convicted: frozenset[int]


@dataclass
class Session:
    """Runs attempts one after another for one federation."""

    policy: Policy
    instance: Instance
    artifacts: dict[str, bytes] = field(repr=False)
    spool: Spool = field(repr=False)
    clock: Clock = field(repr=False)
    entropy: Entropy = field(repr=False)
    suite: str = "aes-256-ctr"
    observer: Observer | None = field(default=None, repr=False)
    log: EventLog = field(default_factory=EventLog, repr=False)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    receipts: list[bytes] = field(default_factory=list, repr=False)
    faults: list[Fault] = field(default_factory=list)
    bound: dict[str, Bound] = field(default_factory=dict)
    culprits: frozenset[int] = frozenset()
    reopen: bytes | None = field(default=None, repr=False)
    heard: dict[bytes, None] = field(default_factory=dict, repr=False)
    noted: set[Fault] = field(default_factory=set, repr=False)
    notices: list[tuple[int | None, bytes]] = field(default_factory=list, repr=False)
    state: State | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for rules in self.policy.models:
            refuse_unavailable(rules)
        self.log.boot(self.policy.digest(), self.clock())

    def open(self, model: str, *, again: bool = False, reopen: bytes | None = None) -> bytes:
        """Start an attempt and give its Offer: the next attempt of the round if `again`, else the next round.

        `reopen` is a governors' order that frees nodes from an earlier verdict on the model. Raises
        CallerFault(AFTER_CONFIRM) where an attempt was confirmed, so that no other may follow it.
        """
        round_, attempt = self.places.get(model, (0, 0))
        if again and not (isinstance(self.state, Aborted) and self.state.again):
            raise CallerFault(Refusal.AFTER_CONFIRM, "only an attempt that nobody confirmed is tried again")
        if isinstance(self.state, Unmasking):
            self._bind(self.state.judged)
        elif isinstance(self.state, Confirming):
            self._bind_perhaps(self.state)
        place = (round_, attempt + 1) if again else (round_ + 1, 1)
        attester = self.instance.attester
        self.state, offer = open_attempt(
            self.policy,
            model,
            place,
            model_digest(self.base(model)),
            self.instance.claims,
            attester.measurement,
            self.log.checkpoint(),
            self.suite,
            self.instance.signing.round_signer,
            self.entropy,
            self._excluded(model, again=again),
        )
        self.places[model], self.reopen, self.noted = place, reopen, set()
        self.log.phase("offer", self.state.terms, self.clock())
        return offer

    def _excluded(self, model: str, *, again: bool) -> frozenset[int]:
        """Nodes shown to be at fault: in this round's earlier attempts, or by a proof against a lost round."""
        earlier = self.bound.get(model)
        proven = earlier.convicted if earlier else frozenset()
        if not (again and isinstance(self.state, Aborted)):
            self.culprits = frozenset()
            return proven
        self.culprits |= {
            index for index, entry in enumerate(self.policy.roster) if entry.node in self.state.culprits
        }
        return proven | self.culprits

    def base(self, model: str) -> bytes:
        """The artifact that a round of `model` starts from."""
        return self.artifacts[self.policy.rules(model).base or model]

    def receive(self, frame: UntrustedFrame) -> tuple[Fault, ...]:
        """Take one message; faults are logged by culprit and code."""
        if self.state is None:
            raise CallerFault(Refusal.WRONG_PHASE, "no attempt is open")
        before = self.state
        self.state, faults = receive(self.state, self.policy, frame, self.spool)
        if self._heard_before(frame.control):
            # The relay, not the node, says a thing again where it does not belong.
            faults = tuple(
                Fault(GATEWAY, fault.code) if fault.code in MISPLACED else fault for fault in faults
            )
        for fault in faults:
            self._fault(fault)
        if isinstance(self.state, Aborted) and self.state is not before:
            self.notices = [*self._aborted(self.state)]
        return faults

    def _heard_before(self, control: bytes) -> bool:
        digest = hashlib.sha256(control).digest()
        known = digest in self.heard
        self.heard[digest] = None
        while len(self.heard) > HEARD:
            self.heard.pop(next(iter(self.heard)))
        return known

    def close(self) -> Outgoing:
        """The phase is complete or its time is up: move on and give what is to be said."""
        match self.state:
            case Advertising():
                self.state, roster = close_advertise(self.state)
                return self._said("roster", [(None, roster)] if roster else [])
            case Sharing():
                self.state, shared = close_share(self.state)
                return self._said("shared", shared or iter(()))
            case Submitting():
                return self._close_submit(self.state)
            case Confirming():
                waiting = self.state
                self.state, request = close_confirm(waiting)
                if isinstance(self.state, Aborted):
                    self._bind_perhaps(waiting)
                return self._said("unmasking", [(None, request)] if request else [])
            case Unmasking():
                return self._release(self.state)
            case _:
                # An abort that a message caused is announced when its phase would have closed.
                notices, self.notices = self.notices, []
                return iter(notices)

    def _close_submit(self, state: Submitting) -> Outgoing:
        terms = state.dealt.agreement.terms
        earlier = self.bound.get(terms.offer.model)
        if self.reopen or earlier is None or earlier.model_digest != terms.offer.model_digest:
            self.state, messages = close_submit(state, reopen=self.reopen)
        else:
            only, proofs = earlier.accepted - earlier.convicted, earlier.proofs
            self.state, messages = close_submit(state, only, proofs)
        return self._said("frozen", [(None, message) for message in messages or ()])

    def _release(self, state: Unmasking) -> Outgoing:
        offer = state.judged.agreement.terms.offer
        previous = model_digest(self.receipts[-1]) if self.receipts else NO_RECEIPT
        facts = ReleaseFacts(self.instance.attester.isolated, previous, self.clock())
        self.state = release(state, self.base(offer.model), self.spool, facts, self.observer)
        if isinstance(self.state, Aborted):
            self._bind(state.judged, self.state)
            return self._said("release", [])
        receipt, message = publish(self.state, self.policy, self.instance.signing, self.log, self.entropy)
        self.receipts.append(receipt)
        self._bind(state.judged)
        if self.state.judged.agreement.terms.rules.numbers.parameters:
            self.artifacts[offer.model] = self.state.artifact
        return iter([(None, message)])

    def _bind_perhaps(self, state: Confirming) -> None:
        """A confirmation that the relay withheld binds its node all the same; but a verdict that perhaps
        nobody confirmed does not displace an earlier one on the same model."""
        offer = state.judged.agreement.terms.offer
        earlier = self.bound.get(offer.model)
        if state.confirmations or earlier is None or earlier.model_digest != offer.model_digest:
            self._bind(state.judged)

    def _bind(self, judged: Judged, aborted: Aborted | None = None) -> None:
        """Hold later rounds on this model to the verdict's cohort, less whom the lost round's proofs convict."""
        offer, names = judged.agreement.terms.offer, self.policy.name
        proofs = aborted.proofs if aborted else ()
        nodes = range(len(self.policy.roster)) if aborted and proofs else ()
        convicted = frozenset(node for node in nodes if aborted and names(node) in aborted.culprits)
        self.bound[offer.model] = Bound(
            offer.model_digest, frozenset(judged.verdict.accepted), proofs, convicted
        )

    def _said(self, kind: str, messages: Iterable[tuple[int | None, bytes]]) -> Outgoing:
        if isinstance(self.state, Aborted):
            return self._aborted(self.state)
        if self.state is not None:
            self.log.phase(kind, terms_of(self.state), self.clock())
        return iter(messages)

    def _aborted(self, state: Aborted) -> Outgoing:
        self.log.phase("abort", state.terms, self.clock(), state.code)
        for culprit in state.culprits:
            self._fault(Fault(culprit, state.code))
        abort = Abort(state.terms.offer_digest, state.code.value)
        return iter([(None, sign_message(self.instance.signing.round_signer, None, abort))])

    def _fault(self, fault: Fault) -> None:
        # Once per attempt: a relay that repeats a message must not grow the log at will.
        if fault in self.noted:
            return
        self.noted.add(fault)
        self.faults.append(fault)
        self.log.fault(terms_of(self.state) if self.state else None, fault.culprit, fault.code, self.clock())
