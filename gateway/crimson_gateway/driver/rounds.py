"""One step of a round: gather its nodes, open an attempt, close a phase, and end it. Every step may be repeated."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from crimson_gateway import shelves
from crimson_gateway.context import Context, utc_now
from crimson_gateway.driver.deliveries import NOT_KEPT, Deliveries
from crimson_gateway.driver.mirror import LogMirror
from crimson_gateway.driver.phases import (
    ABORTED,
    FIRST,
    RUNNING,
    STATE_OF,
    cap_of_said,
    next_place,
    place_of,
)
from crimson_gateway.driver.transitions import Heeded, Transitions
from crimson_gateway.enclave_link import EnclaveLink, Refused
from crimson_gateway.enclave_link.client import Heed
from crimson_gateway.store.rounds import forget_ready, oldest_open, ready_nodes
from crimson_gateway.store.tables import Round
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import link
from crimson_protocol.wire.messages.advertise import Offer
from crimson_protocol.wire.messages.release import Abort, Release
from crimson_protocol.wire.records import Record
from crimson_protocol.wire.table import BY_RECORD, Role, parse_envelope
from crimson_protocol.wire.web import GATHERING

TOO_FEW = Refusal.COHORT_TOO_SMALL.value
NOT_ENDORSED = Refusal.NOT_ENDORSED.value
RESTARTED = Refusal.RESTARTED.value
WRONG_PHASE = Refusal.WRONG_PHASE.value


class Rounds:
    """Moves the oldest open round on."""

    def __init__(self, context: Context, mirror: LogMirror, deliveries: Deliveries) -> None:
        self._context, self._mirror, self._deliveries = context, mirror, deliveries
        self._transitions = Transitions(context)
        self._unendorsed: tuple[int, datetime] | None = None
        self._enough: tuple[int, int, str, float] | None = None

    async def advance(self, enclave: EnclaveLink, status: link.Status, round_: Round) -> bool:
        """One step; whether there may be more to do at once."""
        if round_.state == GATHERING:
            if await self.abandon_strays(enclave, status, round_):
                return True
            return await self._gather(enclave, status, round_)
        return await self._run(enclave, status, round_)

    async def abandon_strays(self, enclave: EnclaveLink, status: link.Status, round_: Round | None) -> bool:
        """Close an attempt that no round here knows, as after the loss of this database."""
        if status.phase not in STATE_OF:
            return False
        if round_ is not None and status.phase == FIRST and next_place(status, round_) == status.place:
            return False
        self._context.log.warning("an attempt that no round knows is closed", phase=status.phase)
        heeded: list[Heeded] = []
        await enclave.close(status.phase, self._heed(0, heeded), self._cap(status.phase))
        self._context.spool.clear(shelves.round_folder(0))
        return True

    async def instance_changed(self) -> None:
        """Nodes that wait for an offer know the instance before this one: they must vouch and report anew."""
        async with self._context.database.reading() as session:
            round_ = oldest_open(session)
        if round_ is not None:
            if round_.state == GATHERING:
                async with self._context.database.writing() as session:
                    forget_ready(session, round_.id)
            self._context.bells.ring(("mail", round_.id))

    async def _gather(self, enclave: EnclaveLink, status: link.Status, round_: Round) -> bool:
        context, now = self._context, utc_now()
        if all(rules.model != round_.model for rules in context.policy.models):
            # Asked for under an earlier policy: it must not hold up the rounds behind it.
            await self._transitions.end(round_, "lost", Refusal.MODEL_REJECTED.value)
            return True
        active = context.available(round_.model)
        async with context.database.reading() as session:
            ready = ready_nodes(session, round_.id) & active
        await self._transitions.show_waiting(round_, active - ready)
        late = now >= round_.deadline
        if ready != active and not late:
            return False
        if len(ready) < context.nodes_needed(round_.model):
            if late:
                await self._transitions.end(round_, "aborted", TOO_FEW)
            return late
        heeded: list[Heeded] = []
        place = next_place(status, round_)
        try:
            after = await enclave.open(
                place, self._heed(round_.id, heeded), self._cap("", Offer), round_.strategy
            )
        except Refused as refused:
            if refused.code == NOT_KEPT or (refused.code == NOT_ENDORSED and self._may_wait(round_, now)):
                return False
            await self._transitions.end(round_, "lost", refused.code)
            return True
        await self._mirror.sync(enclave, after.log_size)
        round_.number, round_.attempt = place.round, place.attempt
        context.running_vector = context.vector_length(round_.model, after.policy)
        await self._transitions.enter(
            round_,
            STATE_OF[FIRST],
            after,
            heeded,
            number=place.round,
            attempt=place.attempt,
            vector_length=context.running_vector,
        )
        return True

    def _may_wait(self, round_: Round, now: datetime) -> bool:
        """Endorsements may come a little after the nodes' readiness, but not for ever."""
        if self._unendorsed is None or self._unendorsed[0] != round_.id:
            self._unendorsed = (round_.id, now)
        return now < self._unendorsed[1] + timedelta(seconds=self._context.settings.phase_seconds)

    async def _run(self, enclave: EnclaveLink, status: link.Status, round_: Round) -> bool:
        if status.place != place_of(round_):
            await self._transitions.end(round_, "lost", RESTARTED)
            return True
        phase = RUNNING[round_.state]
        if status.phase == link.LOST:
            return await self._close(enclave, round_, link.LOST)
        if status.phase == phase:
            status = await self._deliveries.of_phase(enclave, round_, status)
            self._context.view.status = status
            if status.phase == phase and not await self._complete(round_, status):
                return False
        return await self._close(enclave, round_, phase)

    async def _complete(self, round_: Round, status: link.Status) -> bool:
        """Whether everybody has spoken, enough have for a while, or time is up."""
        # Whoever is held back can send nothing more.
        waiting = set(status.waiting) - self._context.held
        if status.phase == FIRST:
            async with self._context.database.reading() as session:
                waiting &= ready_nodes(session, round_.id)
        await self._transitions.show_waiting(round_, waiting)
        if not waiting or utc_now() >= round_.deadline:
            return True
        if not status.enough:
            return False
        now, here = asyncio.get_running_loop().time(), (round_.id, round_.attempt, round_.state)
        if self._enough is None or self._enough[:3] != here:
            self._enough = (*here, now)
        return now >= self._enough[3] + self._context.settings.grace_seconds

    async def _close(self, enclave: EnclaveLink, round_: Round, phase: str) -> bool:
        """Close a phase, perhaps for the second time, and note all that was said with the round's new state."""
        heeded: list[Heeded] = []
        heed = self._heed(round_.id, heeded)
        try:
            after = await self._closed(enclave, phase, heed)
        except Refused as refused:
            if refused.code == NOT_KEPT:
                return False
            await self._transitions.end(round_, "lost", refused.code)
            return True
        await self._mirror.sync(enclave, after.log_size)
        if any(letter.is_a(Release) for letter in heeded):
            await self._transitions.release(round_, heeded)
        elif any(letter.is_a(Abort) for letter in heeded) or after.phase in (ABORTED, link.LOST):
            await self._transitions.abort(round_, after, heeded)
        elif after.phase in STATE_OF:
            await self._transitions.enter(round_, STATE_OF[after.phase], after, heeded)
        else:
            await self._transitions.end(round_, "lost", after.code or RESTARTED, heeded)
        return True

    async def _closed(self, enclave: EnclaveLink, phase: str, heed: Heed) -> link.Status:
        try:
            return await enclave.close(phase, heed, self._cap(phase))
        except Refused as refused:
            if refused.code != WRONG_PHASE:
                raise
            # A message ended the attempt, which is not a phase that was ours to close.
            return await enclave.close(ABORTED, heed, self._cap(phase))

    def _heed(self, round_id: int, heeded: list[Heeded]) -> Heed:
        nodes = len(self._context.policy.roster)

        async def heed(said: link.Said) -> None:
            try:
                envelope, _ = parse_envelope(said.data, Role.ENCLAVE, nodes)
            except PeerFault as fault:
                raise fault.blamed_on("enclave") from fault
            digest = await self._context.spool.put(shelves.letters(round_id), said.data)
            heeded.append(Heeded(said.recipient, envelope.kind, digest, len(said.data)))

        return heed

    def _cap(self, phase: str, *records: type[Record]) -> Callable[[link.LinkRecord], int]:
        nodes = len(self._context.policy.roster)
        largest = max(
            [cap_of_said(phase, nodes), *(BY_RECORD[record].cap(nodes) + 256 for record in records)]
        )
        return lambda record: largest if record is link.Said else max(cap for _, cap in link.KINDS.values())
