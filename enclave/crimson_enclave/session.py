"""The enclave between messages: which attempt is running, the log, the artifacts, the round high-water.

A thin shell over the pure steps. It holds the only mutable references of the enclave, takes clock and
entropy from its caller, and touches no socket or file.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from crimson_enclave.access import training_denied
from crimson_enclave.accounts import Accounts, refuse_broken_promises
from crimson_enclave.bindings import Bindings, Lost
from crimson_enclave.closing import confirm_closed, sketch_closed, submit_closed, unmask_closed
from crimson_enclave.dispatch import GATEWAY, Fault, UntrustedFrame, open_message, receive
from crimson_enclave.event_log import EventLog
from crimson_enclave.instance import Clock, Instance
from crimson_enclave.rounds.advertise import close_advertise, open_attempt
from crimson_enclave.rounds.endorse import endorsements_needed, take_endorse
from crimson_enclave.rounds.release import Observer
from crimson_enclave.rounds.share import close_share
from crimson_enclave.state import (
    Aborted,
    Advertising,
    Confirming,
    Sharing,
    Sketching,
    Spool,
    State,
    Submitting,
    Unmasking,
    terms_of,
)
from crimson_protocol.agreement import Terms
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import CallerFault, PeerFault, PolicyRefusal
from crimson_protocol.events import Reported
from crimson_protocol.policy.document import Policy
from crimson_protocol.receipt import PrivacyCharge
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import Secret
from crimson_protocol.transcript import model_digest
from crimson_protocol.trust import GroupTest
from crimson_protocol.wire.messages.endorse import Endorse
from crimson_protocol.wire.messages.release import Abort

NO_RECEIPT = bytes(32)
FOR_EVER = 2**63 - 1
MISPLACED = (Refusal.WRONG_PHASE, Refusal.WRONG_CONTEXT)
HEARD = 1 << 15
"""Control messages remembered, to tell a relay's replay from a node's fault."""

Outgoing = Iterator[tuple[int | None, bytes]]
"""Messages to relay: (roster index, or None for every node of the attempt; signed envelope)."""


@dataclass
class Session:
    """Runs attempts one after another for one federation.

    `keep` makes the state durable; it is called before anything leaves that a restart must not forget.
    `released`: the model whose release ended the last attempt, to be said again after a restart. `fresh_until`:
    Unix seconds after which the policy may have been replaced without our knowing. `reports`: number of the
    last of the gateway's reports in the log. `accounts`: what each model has used up and remembers;
    `charge`: that of the attempt whose shares are being opened. `contents`: keys that published artifacts are
    encrypted under, for nodes that join later.
    """

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
    published: dict[str, bytes] = field(default_factory=dict, repr=False)
    contents: dict[str, Secret] = field(default_factory=dict, repr=False)
    previous: bytes = NO_RECEIPT
    bound: Bindings = field(default_factory=Bindings)
    endorsed: set[int] = field(default_factory=set)
    lost: Lost | None = None
    released: str | None = None
    keep: Callable[["Session"], None] = field(default=lambda _: None, repr=False)
    culprits: frozenset[int] = frozenset()
    fresh_until: int = FOR_EVER
    reports: int = 0
    accounts: Accounts = field(default_factory=Accounts, repr=False)
    charge: PrivacyCharge | None = None
    heard: dict[bytes, None] = field(default_factory=dict, repr=False)
    noted: set[Fault] = field(default_factory=set, repr=False)
    notices: list[tuple[int | None, bytes]] = field(default_factory=list, repr=False)
    state: State | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        refuse_broken_promises(self.policy)
        self.accounts.refuse_other_units(self.policy)
        self.log.boot(self.policy.digest(), self.clock())

    def open(self, model: str, *, again: bool = False, strategy: str | None = None) -> bytes:
        """Start an attempt and give its Offer: the next attempt of the round if `again`, else the next round.

        strategy: one of the alternatives that the policy allows, instead of its first choice. Raises PolicyRefusal:
        EXPIRED where the policy may have been replaced since, UNSUPPORTED for a strategy that it does not allow,
        BUDGET_EXHAUSTED or EXPOSURE_EXCEEDED where nothing is left for another round; and CallerFault: NOT_ENDORSED
        before q nodes vouched for this instance, AFTER_CONFIRM where an attempt was confirmed, so that no other may
        follow it.
        """
        # 1.1: a policy that nobody vouched for lately may be one that was revoked.
        if self.clock() >= min(self.fresh_until, self.policy.expires):
            raise PolicyRefusal(Refusal.EXPIRED, f"policy {self.policy.serial} is not fresh any more")
        # 0.4: an older copy of the state, or a second instance, is not vouched for by a quorum.
        if len(self.endorsed) < endorsements_needed(self.policy):
            raise CallerFault(Refusal.NOT_ENDORSED, f"{len(self.endorsed)} nodes endorsed this instance")
        round_, attempt = self.places.get(model, (0, 0))
        if again and not self.may_try_again(model):
            raise CallerFault(Refusal.AFTER_CONFIRM, "only an attempt that nobody confirmed is tried again")
        place = (round_, attempt + 1) if again else (round_ + 1, 1)
        rules, attester = self.policy.rules(model), self.instance.attester
        # 1.2: no alternative that the governors did not sign, no round that budget or exposure have no room for.
        if strategy not in (None, rules.strategy, *rules.alternatives):
            raise PolicyRefusal(Refusal.UNSUPPORTED, f"the policy does not allow {strategy} for {model}")
        self.accounts.refuse_round(rules, place[0])
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
            strategy,
        )
        self.places[model], self.noted = place, set()
        self.lost = self.released = None
        self.log.phase("offer", self.state.terms, self.clock())
        for decided in training_denied(self.policy, model):
            self.log.decision(decided, model, place, self.clock())
        self.keep(self)
        return offer

    def take_reports(self, reports: Iterable[Reported]) -> None:
        """Put the gateway's reports into the log, each once, in the order of their numbers."""
        for reported in reports:
            if reported.number > self.reports:
                self.log.report(reported, self.clock())
                self.reports = reported.number
        self.keep(self)

    def may_try_again(self, model: str) -> bool:
        """Whether the model's last attempt ended before anybody can have confirmed it."""
        if self.lost is not None:
            return self.lost.model == model and self.lost.again
        state = self.state
        return isinstance(state, Aborted) and state.terms.offer.model == model and state.again

    def _excluded(self, model: str, *, again: bool) -> frozenset[int]:
        """Nodes shown to be at fault: in this round's earlier attempts, or by a proof against a lost round."""
        proven = self.bound.convicted(model)
        if not again:
            self.culprits = frozenset()
        elif isinstance(self.state, Aborted):
            named = self.state.culprits
            self.culprits |= {at for at, entry in enumerate(self.policy.roster) if entry.node in named}
        return proven | self.culprits

    def base(self, model: str) -> bytes:
        """The artifact that a round of `model` starts from."""
        return self.artifacts[self.policy.rules(model).base or model]

    def receive(self, frame: UntrustedFrame) -> tuple[Fault, ...]:
        """Take one message of an attempt; faults are logged by culprit and code."""
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
            self.fault(fault)
        if isinstance(self.state, Aborted) and self.state is not before:
            self.notices = [*self._aborted(self.state)]
        if isinstance(self.state, Confirming) and len(self.state.confirmations) == 1:
            self.bound.confirmed(self.state.judged)
            self.keep(self)
        return faults

    def endorse(self, control: bytes) -> tuple[Fault, ...]:
        """Take a node's Endorse, at any time."""
        fault = None
        try:
            node, message = open_message(self.policy, control)
            if not isinstance(message, Endorse):
                raise PeerFault(Refusal.MALFORMED, "not an endorsement", self.policy.name(node))
            self.endorsed.add(take_endorse(message, self.policy, self.instance.claims))
        except PeerFault as error:
            fault = Fault(error.culprit or GATEWAY, error.code)
            self.fault(fault)
        return (fault,) if fault else ()

    def _heard_before(self, control: bytes) -> bool:
        digest = hashlib.sha256(control).digest()
        known = digest in self.heard
        self.heard[digest] = None
        while len(self.heard) > HEARD:
            self.heard.pop(next(iter(self.heard)))
        return known

    def close(self) -> Outgoing:
        """The phase is complete or its time is up: move on and give what is to be said.

        A mistake of our own ends the attempt: one that stayed open would hold up every model.
        """
        try:
            return self._close()
        except CallerFault as fault:
            if self.state is None:
                raise
            self.state = Aborted(terms_of(self.state), fault.code, (), again=False)
            return self.said("abort", [])

    def _close(self) -> Outgoing:
        match self.state:
            case Advertising():
                self.state, roster = close_advertise(self.state)
                return self.said("roster", [(None, roster)] if roster else [])
            case Sharing():
                self.state, shared = close_share(self.state)
                return self.said("shared", shared or iter(()))
            case Submitting():
                return submit_closed(self, self.state)
            case Sketching():
                return sketch_closed(self, self.state)
            case Confirming():
                return confirm_closed(self, self.state)
            case Unmasking():
                return unmask_closed(self, self.state)
            case _:
                # An abort that a message caused is announced when its phase would have closed.
                notices, self.notices = self.notices, []
                return iter(notices)

    def close_lost(self) -> Outgoing:
        """Tell the nodes of an attempt that a restart ended that it is over."""
        if self.lost is None:
            return iter(())
        abort = Abort(self.lost.offer_digest, Refusal.RESTARTED.value)
        return iter([(None, sign_message(self.instance.signing.round_signer, None, abort))])

    def said(self, kind: str, messages: Iterable[tuple[int | None, bytes]]) -> Outgoing:
        """Log that the attempt moved on, or ended, and give what is to be said."""
        if isinstance(self.state, Aborted):
            return self._aborted(self.state)
        if self.state is not None:
            self.log.phase(kind, terms_of(self.state), self.clock())
        if isinstance(self.state, Sketching | Confirming | Unmasking):
            # A seed, a verdict and a charge are durable before anybody hears of them.
            self.keep(self)
        return iter(messages)

    def _aborted(self, state: Aborted) -> Outgoing:
        self.log.phase("abort", state.terms, self.clock(), state.code)
        self.flag(state.terms, state.flagged)
        for culprit in state.culprits:
            self.fault(Fault(culprit, state.code))
        self.keep(self)
        abort = Abort(state.terms.offer_digest, state.code.value)
        return iter([(None, sign_message(self.instance.signing.round_signer, None, abort))])

    def flag(self, terms: Terms, flagged: Iterable[GroupTest]) -> None:
        """Log who was in buckets that failed a test."""
        for found in flagged:
            names = [self.policy.name(node) for node in found.nodes]
            self.log.flag(terms, found.nodes, names, found.test, self.clock())

    def fault(self, fault: Fault) -> None:
        """Log a fault."""
        # Once per attempt: a relay that repeats a message must not grow the log at will.
        if fault in self.noted:
            return
        self.noted.add(fault)
        self.faults.append(fault)
        self.log.fault(terms_of(self.state) if self.state else None, fault.culprit, fault.code, self.clock())
