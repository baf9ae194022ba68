"""Every nonce once: checked in memory, and durable before the request has any effect."""

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime

from crimson_gateway.problems import Problem
from crimson_gateway.store.database import Database
from crimson_gateway.store.seen import add_nonces, forget_nonces, live_nonces, nodes_spoke
from crimson_protocol.wire import web

SEEN_EVERY = 5
"""Seconds between two notes that the same node spoke."""
SWEEP_EVERY = 60
"""Seconds between two removals of expired nonces."""


class NonceBook:
    """Nonces of the last minutes. Requests that arrive together share one commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._spent: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._pending: list[tuple[str, str, int]] = []
        self._spoke: dict[int, datetime] = {}
        self._last: dict[int, int] = {}
        self._sweep = 0
        self._commit: asyncio.Task[None] | None = None

    async def load(self, now: int) -> None:
        """Remember what was used before a restart."""
        async with self._database.reading() as session:
            for key_id, nonce, expires in live_nonces(session, now):
                self._spent[key_id, nonce] = expires

    async def spend(self, key_id: str, nonce: str, node: int | None, now: int) -> None:
        """Use a nonce. Raises Problem(nonce-used) where it was used before."""
        while self._spent and next(iter(self._spent.values())) <= now:
            self._spent.popitem(last=False)
        if (key_id, nonce) in self._spent:
            raise Problem("nonce-used")
        expires = now + web.NONCE_LIFETIME
        self._spent[key_id, nonce] = expires
        self._pending.append((key_id, nonce, expires))
        if node is not None and now - self._last.get(node, 0) >= SEEN_EVERY:
            self._last[node], self._spoke[node] = now, datetime.now(UTC)
        await self._durable(now)

    async def _durable(self, now: int) -> None:
        running = self._commit
        if running is not None and not running.done():
            # Our nonce came after that commit took its batch: the next one has it.
            await asyncio.wait([running])
        if self._commit is running:
            self._commit = asyncio.create_task(self._write(now))
        assert self._commit is not None
        # A commit that fails fails everybody who waited for it: their requests have had no effect yet.
        await asyncio.shield(self._commit)

    async def _write(self, now: int) -> None:
        batch, self._pending = self._pending, []
        spoke, self._spoke = self._spoke, {}
        async with self._database.writing() as session:
            add_nonces(session, batch)
            nodes_spoke(session, spoke)
            if now >= self._sweep:
                forget_nonces(session, now)
                self._sweep = now + SWEEP_EVERY
