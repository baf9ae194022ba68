"""How a round's state changes: a phase begins, an attempt fails, the round is over. Letters and state go together."""

import json
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from crimson_gateway import shelves
from crimson_gateway.context import Context, utc_now
from crimson_gateway.store.letters import add_letters, forget_letters, publish
from crimson_gateway.store.rounds import change_round, forget_ready, set_waiting
from crimson_gateway.store.tables import Round
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import link
from crimson_protocol.wire.messages.release import Release
from crimson_protocol.wire.records import Record
from crimson_protocol.wire.table import BY_RECORD
from crimson_protocol.wire.web import GATHERING, OVER

LETTERS_KEPT = 3
"""Rounds whose letters stay, so that a node that was away still sees how the last ones ended."""


@dataclass(frozen=True)
class Heeded:
    """A message of the enclave that lies in the spool and is not in the database yet."""

    recipient: int | None
    kind: int
    digest: bytes
    length: int

    def is_a(self, record: type[Record]) -> bool:
        """Whether it is a message of this type."""
        return self.kind == BY_RECORD[record].kind


class Transitions:
    """Writes a round's changes and wakes whoever waits for them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def enter(
        self, round_: Round, state: str, status: link.Status, heeded: list[Heeded], **values: object
    ) -> None:
        """A phase begins: its letters and the round's state become visible together."""
        context, now = self._context, utc_now()
        async with context.database.writing() as session:
            self._add_letters(session, round_, heeded)
            change_round(
                session,
                round_.id,
                state=state,
                code=None,
                offer_digest=status.offer_digest,
                phase_began=now,
                deadline=now + timedelta(seconds=context.settings.phase_seconds),
                **values,
            )
        context.log.info("phase", round=round_.id, attempt=round_.attempt, state=state)
        self._ring(round_)

    async def release(self, round_: Round, heeded: list[Heeded]) -> None:
        """The round is over, and its release is the model's newest."""
        letter = next(letter for letter in heeded if letter.is_a(Release))
        self._context.spool.link(shelves.letters(round_.id), letter.digest, shelves.RELEASES)
        await self.end(round_, "released", None, heeded, published=letter.digest)

    async def abort(self, round_: Round, status: link.Status, heeded: list[Heeded]) -> None:
        """The attempt failed: gather again, or give the round up."""
        context, now = self._context, utc_now()
        code = status.code or Refusal.RESTARTED.value
        if not status.again or round_.attempt >= context.settings.max_attempts:
            await self.end(round_, "aborted" if status.again else "lost", code, heeded)
            return
        async with context.database.writing() as session:
            self._add_letters(session, round_, heeded)
            forget_ready(session, round_.id)
            change_round(
                session,
                round_.id,
                state=GATHERING,
                code=code,
                phase_began=now,
                deadline=now + timedelta(seconds=context.settings.gather_seconds),
            )
        context.log.info("attempt aborted", round=round_.id, attempt=round_.attempt, code=code)
        context.spool.clear(shelves.uploads(round_.id, round_.attempt))
        self._ring(round_)

    async def end(
        self,
        round_: Round,
        state: str,
        code: str | None,
        heeded: list[Heeded] | None = None,
        published: bytes | None = None,
    ) -> None:
        """The round is over; what nodes sent in it is removed."""
        assert state in OVER
        context = self._context
        async with context.database.writing() as session:
            self._add_letters(session, round_, heeded or [])
            if published is not None:
                publish(session, round_.model, round_.number, published)
            forget_letters(session, round_.id - LETTERS_KEPT)
            change_round(session, round_.id, state=state, code=code, waiting="[]")
        context.log.info("round over", round=round_.id, attempt=round_.attempt, state=state, code=code)
        context.metrics.rounds_over.labels(state).inc()
        context.spool.clear(shelves.attempts(round_.id))
        for name in context.spool.shelves(shelves.ROUNDS):
            if int(name) < round_.id - LETTERS_KEPT:
                context.spool.clear(shelves.round_folder(int(name)))
        self._ring(round_)

    def _add_letters(self, session: Session, round_: Round, heeded: list[Heeded]) -> None:
        said = [(letter.recipient, letter.kind, letter.digest, letter.length) for letter in heeded]
        add_letters(session, round_, said, utc_now())

    async def show_waiting(self, round_: Round, nodes: set[int] | frozenset[int]) -> None:
        """Note whose part is outstanding, where that changed."""
        names = self._context.names(nodes)
        if json.loads(round_.waiting) == names:
            return
        async with self._context.database.writing() as session:
            set_waiting(session, round_, names)
        self._context.bells.ring(("round", round_.id))

    def _ring(self, round_: Round) -> None:
        for topic in (("mail", round_.id), ("round", round_.id), "calls"):
            self._context.bells.ring(topic)
