"""The one entry for questions of the untrusted host: each is answered whole, or it never happened."""

from collections.abc import Iterator

from crimson_enclave.dispatch import Fault, UntrustedFrame
from crimson_enclave.followed import follow
from crimson_enclave.host.folder import Uncertain
from crimson_enclave.host.keeper import NotKept
from crimson_enclave.host.standing import model_in_question, phase, running, status
from crimson_enclave.host.start import Started, largest_vector, start_anew
from crimson_enclave.host.stream import Connection, LinkLost
from crimson_enclave.host.talk import say
from crimson_enclave.rollback import Before
from crimson_enclave.state import Confirming, Unmasking
from crimson_protocol.errors import CallerFault, CrimsonError, PeerFault
from crimson_protocol.phases import EnclavePhase
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import link
from crimson_protocol.wire.envelope import OVERHEAD, Envelope
from crimson_protocol.wire.messages.endorse import Endorse
from crimson_protocol.wire.records import Record
from crimson_protocol.wire.table import BY_RECORD, MESSAGES, Role

NOT_KEPT = "state-not-kept"
"""Refusal of a question whose outcome could not be written: ask again once there is room."""
MAX_FAULTS = 64
_QUESTIONS = (
    link.Hello,
    link.Attest,
    link.Open,
    link.Adopt,
    link.Tell,
    link.Close,
    link.ReadLog,
    link.Piece,
)
_UNMASKING, _RELEASED = EnclavePhase.UNMASKING.value, EnclavePhase.RELEASED.value

Said = list[tuple[int | None, bytes]]


class Gate:
    """Answers one question at a time. Holds what was said last, to say it again."""

    def __init__(self, started: Started) -> None:
        self._begin(started)

    def _begin(self, started: Started) -> None:
        self._session, self._keeper, self._spool = started.session, started.keeper, started.spool
        self._offer = b""
        self._said: Said = []
        self._closed: tuple[str, ...] = ()
        policy = started.session.policy
        self._largest = largest_vector(policy)
        nodes = len(policy.roster)
        caps = (message.cap(nodes) for message in MESSAGES if message.sender is Role.NODE)
        self._control = max(caps) + 2 * OVERHEAD

    def limit(self, record: link.LinkRecord) -> int:
        """Most bytes that a body may have, below its kind's cap: a Deliver carries one message of a node,
        and what only the enclave says is not heard at all."""
        if record is link.Deliver:
            return self._control
        return link.MAX_CONTROL if record in _QUESTIONS else 0

    def answer(self, question: Record, connection: Connection) -> None:
        """Answer a question on its connection. Raises LinkLost, after which nothing of it has happened."""
        spool = self._spool
        spool.connection = connection
        before, kept = Before(self._session), self._keeper.state
        try:
            answers = list(self._answers(question, connection))
        except NotKept as failure:
            before.undo()
            say(f"{failure}; nothing was sent")
            answers = [link.Refused(NOT_KEPT)]
        except CrimsonError as refusal:
            before.undo()
            answers = [link.Refused(refusal.code.value)]
        except BaseException:
            if self._keeper.state is not kept:
                # What is durable cannot be undone in memory alone: only a restart makes both one again.
                raise Uncertain("a question failed after its outcome was kept") from None
            before.undo()
            raise
        finally:
            spool.connection = None
        for answer in answers:
            connection.send(answer)

    def _answers(self, question: Record, connection: Connection) -> Iterator[Record]:
        match question:
            case link.Hello():
                yield self._status()
            case link.Attest():
                instance = self._session.instance
                now = self._session.clock()
                yield link.Attested(instance.attester.attest(instance.claims, question.nonce, now))
            case link.Open():
                yield link.Said(None, self._open(question))
                yield self._status()
            case link.Adopt():
                self._adopt(question)
                # Sealed anew for who joined; said at every start, since a kill may have come before they were filed.
                for _, message in sorted(self._session.published.items()):
                    yield link.Said(None, message)
                yield self._status()
            case link.Tell():
                self._session.take_reports(question.reports)
                yield self._status()
            case link.Deliver():
                yield self._deliver(question, connection)
            case link.Close():
                for recipient, data in self._close(question.phase):
                    yield link.Said(recipient, data)
                yield self._status()
            case link.ReadLog():
                stop = min(question.start + link.MAX_LEAVES, self._keeper.size)
                yield link.Leaves(question.start, tuple(self._session.log.leaves[question.start : stop]))
            case _:
                raise LinkLost("not a question")

    def _status(self) -> link.Status:
        return status(self._session, self._keeper.size)

    def _open(self, question: link.Open) -> bytes:
        session, model, place = self._session, question.model, (question.round, question.attempt)
        session.policy.rules(model)
        if running(session):
            if (model_in_question(session), session.places[model]) == (model, place):
                return self._offer
            raise CallerFault(Refusal.WRONG_PHASE, "an attempt is running")
        round_, attempt = session.places.get(model, (0, 0))
        again = place == (round_, attempt + 1) and attempt > 0
        if not again and place != (round_ + 1, 1):
            raise CallerFault(Refusal.WRONG_PHASE, f"the model stands at round {round_}, attempt {attempt}")
        self._offer = session.open(model, again=again, strategy=question.strategy)
        self._closed, self._said = (), []
        return self._offer

    def _adopt(self, question: link.Adopt) -> None:
        """Follow a newer policy, or hear that the present one is still the newest."""
        session, keeper = self._session, self._keeper
        followed = follow(keeper.followed.trust, question.bundle, session.clock())
        if followed.policy.digest() == session.policy.digest():
            keeper.followed, session.fresh_until = followed, followed.verified.fresh_until
            keeper(session)
            return
        if isinstance(session.state, Confirming | Unmasking):
            # Nodes may have confirmed: the round ends under the policy that it began with.
            raise CallerFault(Refusal.WRONG_PHASE, "a verdict is out")
        self._begin(start_anew(followed, question.artifacts, session, keeper))

    def _deliver(self, question: link.Deliver, connection: Connection) -> link.Heard:
        session = self._session
        if question.length is None:
            frame = UntrustedFrame(question.control)
        elif question.length <= self._largest:
            frame = UntrustedFrame(question.control, connection.pieces(question.length))
        else:
            raise LinkLost("a vector longer than any model's")
        if _is_endorsement(question.control):
            return _heard(session.endorse(question.control))
        was_running, earlier = running(session), phase(session)
        heard = _heard(session.receive(frame))
        if was_running and not running(session):
            # A message ended the attempt: whoever closes its phase, or the ended one, hears why.
            self._closed, self._said = (earlier, phase(session)), list(session.close())
        return heard

    def _close(self, named: str) -> Said:
        session = self._session
        if named in self._closed:
            return self._said
        if session.state is None and session.lost is not None and named == link.LOST:
            return list(session.close_lost())
        if session.state is None and session.released is not None and named in (_UNMASKING, _RELEASED):
            return [(None, session.published[session.released])]
        if not running(session) or named != phase(session):
            raise CallerFault(Refusal.WRONG_PHASE, f"asked to close {named} while {phase(session)}")
        said = list(session.close())
        ended = () if running(session) else (phase(session),)
        self._closed, self._said = (named, *ended), said
        return said


def _is_endorsement(control: bytes) -> bool:
    kind = BY_RECORD[Endorse]
    try:
        return Envelope.from_bytes(control, kind.cap(0) + OVERHEAD).kind == kind.kind
    except PeerFault:
        return False


def _heard(faults: tuple[Fault, ...]) -> link.Heard:
    found = tuple(link.FaultFound(fault.culprit, fault.code.value) for fault in faults[:MAX_FAULTS])
    return link.Heard(found)
