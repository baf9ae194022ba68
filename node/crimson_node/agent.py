"""The node between messages: journal first, then send. Both engines drive this same agent.

A thin shell over the pure steps. It is the only place of the node that makes entries and masked bytes
durable, and it does so before a reply is handed out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crimson_node.journal import Journal
from crimson_node.member import Member, Update
from crimson_node.outbox import Kept, Outbox
from crimson_node.rounds.advertise import advertise
from crimson_node.rounds.confirm import confirm, take_freeze
from crimson_node.rounds.endorse import endorse
from crimson_node.rounds.release import adopt, reopen, take_release
from crimson_node.rounds.share import share
from crimson_node.rounds.sketch import answer_freeze
from crimson_node.rounds.submit import Encoder, Masked, Witness, submit
from crimson_node.rounds.unmask import charge, unmask, unmask_again
from crimson_node.seen import Entry, PolicySeen, Seen, VectorSent
from crimson_node.state import (
    Advertised,
    Confirmed,
    Finished,
    FrozenInputs,
    Opened,
    Ready,
    SharesDealt,
    State,
    Submitted,
    Withdrawn,
    attempt_digest,
)
from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import PeerFault
from crimson_protocol.evidence.validate import Appraisal, appraise
from crimson_protocol.phases import legal
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import Secret
from crimson_protocol.secret.masking import keystream_fill
from crimson_protocol.wire.messages.advertise import Offer
from crimson_protocol.wire.messages.confirm import Freeze, Verdict
from crimson_protocol.wire.messages.release import Abort, Release
from crimson_protocol.wire.messages.share import Roster
from crimson_protocol.wire.messages.submit import Shared
from crimson_protocol.wire.messages.unmask import UnmaskRequest
from crimson_protocol.wire.records import Record
from crimson_protocol.wire.table import Role, parse_body, parse_envelope

ENCLAVE, GATEWAY = "enclave", "gateway"


@dataclass(frozen=True)
class Reply:
    """What to send: a signed control message and, for a Submit, the masked vector's bytes."""

    control: bytes = field(repr=False)
    payload: memoryview | None = field(default=None, repr=False)


class Agent:
    """One hospital's side of every attempt."""

    def __init__(
        self,
        member: Member,
        journal: Journal,
        outbox: Path,
        clock: Callable[[], int],
        entropy: Entropy,
        witness: Witness | None = None,
        encode: Encoder | None = None,
    ) -> None:
        self.member = member
        self.state: State = Withdrawn("not prepared")
        self._journal, self.outbox = journal, Outbox(outbox)
        self._clock, self._entropy, self._witness = clock, entropy, witness
        self._encode = encode
        self._challenge, self._relay_round = b"", 0
        self.kept: Kept | None = None
        policy = member.policy
        if policy.serial < journal.seen.policy_serial:
            raise PeerFault(Refusal.POLICY_WENT_BACK, f"policy {policy.serial} is older than one seen before")
        if policy.serial == journal.seen.policy_serial and policy.digest() != journal.seen.policy_digest:
            raise PeerFault(
                Refusal.POLICY_REJECTED, f"two policies carry serial {policy.serial}", "governors"
            )
        if policy.serial > journal.seen.policy_serial:
            journal.append(PolicySeen(policy.serial, policy.digest()), clock())

    @property
    def last_log_size(self) -> int:
        """Size of the last checkpoint seen; the relay proves consistency from it."""
        checkpoint = self._journal.seen.checkpoint
        return checkpoint.size if checkpoint else 0

    def challenge(self) -> bytes:
        """A fresh nonce that the enclave's evidence must answer."""
        self._challenge = self._entropy(32)
        return self._challenge

    def appraise(self, evidence: bytes) -> Appraisal:
        """Judge evidence for the last challenge, once. Raises PeerFault(EVIDENCE_REJECTED)."""
        nonce, self._challenge = self._challenge, b""
        return appraise(evidence, nonce, self.member.policy, self._clock())

    @property
    def seen(self) -> Seen:
        """What the journal says that this node saw and signed."""
        return self._journal.seen

    def endorse(self, appraisal: Appraisal, consistency: Sequence[bytes] = ()) -> bytes:
        """Vouch for the appraised instance: a signed Endorse, journaled before it is given out.

        `consistency` joins the last checkpoint seen and the appraisal's. Raises PeerFault on the enclave.
        """
        entry, reply = endorse(self.member, self.seen, appraisal, consistency)
        if entry is not None:
            self._journal.append(entry, self._clock())
        return reply

    def adopt(self, release: bytes, appraisal: Appraisal, consistency: Sequence[bytes] = ()) -> Finished:
        """Verify a release that this node missed and go on from it. Raises PeerFault."""
        message = self._open(release, appraisal.receipt_key)
        if not isinstance(message, Release):
            raise PeerFault(Refusal.MALFORMED, "not a release", GATEWAY)
        try:
            finished, entry = adopt(self.member, self.seen, appraisal.receipt_key, message, consistency)
        except PeerFault as fault:
            raise fault.blamed_on(ENCLAVE) from fault
        self._journal.append(entry, self._clock())
        return finished

    def restore(self, release: bytes, appraisal: Appraisal) -> Finished:
        """Open again the release that the journal says was verified last, where its artifact was lost.

        Raises PeerFault(ROUND_WENT_BACK) for any other.
        """
        message = self._open(release, appraisal.receipt_key)
        if not isinstance(message, Release):
            raise PeerFault(Refusal.MALFORMED, "not a release", GATEWAY)
        return reopen(self.member, self.seen, appraisal.receipt_key, message)

    def prepare(self, update: Update, appraisal: Appraisal, relay_round: int = 0) -> None:
        """Training is done: wait for an offer on the model it was done on.

        `relay_round` is the relay's id of the round, kept beside the masked vector.
        """
        self.state, self._relay_round = Ready(update, appraisal), relay_round

    def unsent(self) -> Kept | None:
        """After a restart: a Submit that was journaled and not acknowledged. It may be sent again, with these very
        bytes."""
        kept, last = self.outbox.unsent(), None
        for _, entry in self._journal.entries():
            last = entry if isinstance(entry, VectorSent) else last
        # A vector without its entry never left: the kill came between the two.
        same = kept and last and (kept.t1, kept.digest, kept.length) == (last.t1, last.digest, last.length)
        return kept if same else None

    def receive(self, data: bytes, consistency: Sequence[bytes] = ()) -> Reply | None:
        """Take one message of the enclave and give the reply, if there is one.

        Raises PeerFault with its culprit; the node then takes no further part in the attempt, except
        that a message out of its phase, of another context or without a valid signature changes nothing.
        """
        message = self._open(data, _enclave_key(self.state))
        if legal(Role.NODE, self.state.phase, type(message)) is None:
            text = f"{type(message).__name__} while {self.state.phase.value}"
            raise PeerFault(Refusal.WRONG_PHASE, text, ENCLAVE)
        try:
            return self._step(message, data, consistency)
        except PeerFault as fault:
            blamed = fault.blamed_on(ENCLAVE)
            # A second request must not cost the first one its answer, and an offer may come again. What was
            # signed for another attempt or phase may be the relay's replay.
            if not isinstance(self.state, Opened | Ready) and fault.code is not Refusal.WRONG_CONTEXT:
                self.state = Withdrawn(str(blamed))
            raise blamed from fault

    def _open(self, data: bytes, enclave: DualPublic) -> Record:
        nodes = len(self.member.policy.roster)
        try:
            envelope, kind = parse_envelope(data, Role.ENCLAVE, nodes)
            # What the enclave did not sign is the relay's own.
            envelope.verify(enclave.ed25519, GATEWAY)
        except PeerFault as fault:
            raise fault.blamed_on(GATEWAY) from fault
        try:
            return parse_body(envelope, kind, nodes)
        except PeerFault as fault:
            raise fault.blamed_on(ENCLAVE) from fault

    def _step(self, message: Record, data: bytes, consistency: Sequence[bytes]) -> Reply | None:
        member, seen, now = self.member, self._journal.seen, self._clock()
        state: State
        entry: Entry
        reply: bytes | None
        match self.state, message:
            case Ready(), Offer():
                state, entry, reply = advertise(
                    self.state, member, seen, message, data, consistency, self._entropy, now
                )
                self._journal.append(entry, now)
            case Advertised(), Roster():
                state, reply = share(self.state, member, message, self._entropy)
            case SharesDealt(), Shared():
                return self._submit(self.state, message)
            case Submitted(), Freeze():
                state, reply = self._freeze(self.state, message, now)
            case FrozenInputs(), Verdict():
                state, entry, reply = confirm(self.state, member, seen, message)
                self._journal.append(entry, now)
            case Confirmed(), UnmaskRequest():
                state, reply = self._unmask(self.state, message, now)
            case Opened(), UnmaskRequest():
                return Reply(unmask_again(self.state, message))
            case Confirmed() | Opened(), Release():
                state, entry = take_release(self.state, member, seen, message)
                reply = None
                self._journal.append(entry, now)
            case _, Abort():
                if message.offer_digest != attempt_digest(self.state):
                    raise PeerFault(Refusal.WRONG_CONTEXT, "the abort is of another attempt", ENCLAVE)
                state, reply = Withdrawn(message.code), None
            case _:
                raise AssertionError("the phase table allows a pair that no step takes")
        self.state = state
        return Reply(reply) if reply is not None else None

    def _freeze(self, state: Submitted, message: Freeze, now: int) -> tuple[FrozenInputs, bytes | None]:
        after = take_freeze(state, self.member, message)
        sketched, reply = answer_freeze(state, after, self.member, self.seen, message)
        if sketched is not None:
            self._journal.append(sketched, now)
        return after, reply

    def _unmask(self, state: Confirmed, message: UnmaskRequest, now: int) -> tuple[Opened, bytes]:
        after, reply = unmask(state, self.member, message)
        charged = charge(after.judged)
        if charged is not None:
            self._journal.append(charged, now)
        return after, reply

    def _submit(self, state: SharesDealt, message: Shared) -> Reply:
        fill = keystream_fill(Secret.fresh(self._entropy), state.agreement.terms.offer.suite)
        after, sent = submit(state, self.member, message, fill, self._witness, self._encode)
        if isinstance(sent, Masked):
            # The bytes and their entry are durable before the secrets that made them are forgotten.
            self._keep(sent)
            self._journal.append(sent.entry, self._clock())
            self.state = after
            return Reply(sent.header, sent.payload)
        self.state = after
        return Reply(sent)

    def _keep(self, masked: Masked) -> None:
        """Write the masked bytes to the outbox: only these are ever sent again."""
        sent = masked.entry
        kept = Kept(
            relay_round=self._relay_round,
            model=sent.model,
            round=sent.round,
            attempt=sent.attempt,
            t1=sent.t1,
            digest=sent.digest,
            length=sent.length,
            header=masked.header,
        )
        self.outbox.keep(masked.payload, kept)
        self.kept = kept


def _enclave_key(state: State) -> DualPublic:
    match state:
        case Ready():
            return state.appraisal.receipt_key
        case Finished() | Withdrawn():
            raise PeerFault(Refusal.WRONG_PHASE, "no attempt is running", GATEWAY)
        case _:
            return state.enclave
