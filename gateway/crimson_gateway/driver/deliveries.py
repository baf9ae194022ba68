"""From the database to the enclave: messages in the order in which they were acknowledged."""

from crimson_gateway import shelves
from crimson_gateway.context import Context
from crimson_gateway.driver.fetches import Fetches
from crimson_gateway.driver.phases import KINDS
from crimson_gateway.driver.questions import Questions
from crimson_gateway.enclave_link import EnclaveLink, Refused
from crimson_gateway.store.rounds import add_faults
from crimson_gateway.store.tables import Round, Upload
from crimson_gateway.store.uploads import forget_endorsements, known_payload, mark_delivered, pending_uploads
from crimson_protocol.wire import link
from crimson_protocol.wire.messages.submit import Complaint, Submit
from crimson_protocol.wire.table import BY_RECORD

LATE, MISSING = "late", "missing"
NOT_KEPT = "state-not-kept"
"""The enclave could not write its state: the same question is asked again later."""
SUBMIT, COMPLAINT = BY_RECORD[Submit].kind, BY_RECORD[Complaint].kind


class Deliveries:
    """Gives the enclave what nodes sent. After a crash a message is given again; the enclave takes it once."""

    def __init__(self, context: Context, fetches: Fetches, questions: Questions) -> None:
        self._context, self._fetches, self._questions = context, fetches, questions

    async def endorsements(self, enclave: EnclaveLink) -> None:
        """Nodes' words for the instance, before anything else."""
        context = self._context
        async with context.database.reading() as session:
            pending = pending_uploads(session, None, 0)
        heard: list[tuple[Upload, str | None]] = []
        try:
            for upload in pending:
                answer = await self._deliver(enclave, shelves.ENDORSEMENTS, upload, None)
                heard.append((upload, _outcome(answer)))
        finally:
            if heard:
                async with context.database.writing() as session:
                    for upload, outcome in heard:
                        mark_delivered(session, [upload.id], outcome)
                        forget_endorsements(session, upload.node, upload.digest)
                for upload, _ in heard:
                    context.spool.remove(shelves.ENDORSEMENTS, upload.digest)

    async def of_phase(self, enclave: EnclaveLink, round_: Round, status: link.Status) -> link.Status:
        """Everything that waits for the running attempt; the status after it.

        What the enclave took is noted once for the whole turn. Whatever else became of a message is noted at
        once, for what the enclave asks for again is chosen by outcomes.
        """
        context = self._context
        self._fetches.serve_attempt(round_)
        async with context.database.reading() as session:
            pending = pending_uploads(session, round_.id, round_.attempt)
        taken: list[int] = []
        try:
            for upload in pending:
                status = await self._one(enclave, round_, upload, status, taken)
                await self._questions.serve(enclave)
        finally:
            if taken:
                async with context.database.writing() as session:
                    mark_delivered(session, taken, None)
        return await enclave.status() if pending else status

    async def _one(
        self, enclave: EnclaveLink, round_: Round, upload: Upload, status: link.Status, taken: list[int]
    ) -> link.Status:
        context = self._context
        if upload.kind not in KINDS.get(status.phase, ()):
            # Its phase is over. That it came late is no fault that the enclave should log.
            async with context.database.writing() as session:
                mark_delivered(session, [upload.id], LATE)
            context.metrics.deliveries.labels(LATE).inc()
            return status
        heard = await self._deliver(enclave, shelves.uploads(round_.id, round_.attempt), upload, round_)
        outcome = _outcome(heard)
        if outcome is None and upload.kind != COMPLAINT:
            taken.append(upload.id)
            return status
        faults = [(fault.culprit, fault.code) for fault in heard.faults] if heard else []
        async with context.database.writing() as session:
            mark_delivered(session, [upload.id], outcome)
            add_faults(session, round_.id, round_.attempt, faults)
        if faults or upload.kind == COMPLAINT:
            # A complaint may have ended the attempt: what waits behind it must not be blamed for that.
            return await enclave.status()
        return status

    async def _deliver(
        self, enclave: EnclaveLink, shelf: str, upload: Upload, round_: Round | None
    ) -> link.Heard | None:
        spool = self._context.spool
        length = None
        if upload.payload is not None and round_ is not None:
            async with self._context.database.reading() as session:
                payload = known_payload(session, round_.id, round_.attempt, upload.node, upload.payload)
            if payload is None or not spool.path(shelf, upload.payload).exists():
                return None
            length = payload.length
        try:
            control = await spool.read(shelf, upload.digest)
        except FileNotFoundError:
            return None
        try:
            heard = await enclave.deliver(control, length, spool.pieces(shelf, upload.payload or b""))
        except Refused as refused:
            if refused.code == NOT_KEPT:
                raise
            return link.Heard((link.FaultFound(None, refused.code),))
        self._context.metrics.deliveries.labels("fault" if heard.faults else "taken").inc()
        return heard


def _outcome(heard: link.Heard | None) -> str | None:
    """The refusal code that a message drew; a complaint that held blames its dealer, which is noted too."""
    if heard is None:
        return MISSING
    return heard.faults[0].code if heard.faults else None
