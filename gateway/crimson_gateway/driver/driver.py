"""The conversation with the enclave: connect, answer challenges, deliver, move rounds on, for ever."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from crimson_gateway.context import Context
from crimson_gateway.driver.deliveries import Deliveries
from crimson_gateway.driver.fetches import Fetches
from crimson_gateway.driver.mirror import LogMirror
from crimson_gateway.driver.policies import Policies
from crimson_gateway.driver.questions import Questions
from crimson_gateway.driver.reports import Reports
from crimson_gateway.driver.rounds import Rounds
from crimson_gateway.enclave_link import EnclaveLink, LinkLost, Refused, connected
from crimson_gateway.store.rounds import oldest_open
from crimson_protocol.errors import PeerFault
from crimson_protocol.wire import link

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
TICK = 1.0
"""Longest silence between two looks at deadlines, in seconds."""


class Driver:
    """Runs as one task. Whatever it knows is in the database, so it may be killed at any moment."""

    def __init__(self, context: Context, socket: str) -> None:
        self._context, self._socket = context, socket
        self._awake = asyncio.Event()
        context.wake = self._awake.set
        self.questions = Questions(self._awake.set, lambda: context.view.connected)
        self.mirror = LogMirror(context.database)
        self._fetches = Fetches(context)
        self._deliveries = Deliveries(context, self._fetches, self.questions)
        self._rounds = Rounds(context, self.mirror, self._deliveries)
        self._policies, self._reports = Policies(context), Reports(context)

    async def run(self) -> None:
        """Until cancelled. A broken link, a hostile enclave or a bug of ours costs one connection."""
        await self.mirror.load()
        pause, context, clock = FIRST_PAUSE, self._context, asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                async with self._connection() as enclave:
                    await self._note(enclave, await enclave.status())
                    await self._converse(enclave)
            except (LinkLost, PeerFault, Refused) as error:
                context.log.warning("the enclave link ended", code=str(getattr(error, "code", error)))
            except Exception:
                context.log.exception("the driver failed and starts again")
            context.view.connected = False
            context.metrics.link_up.set(0)
            # Only a conversation that lasted shows that the fault is gone; any other is tried ever more slowly.
            pause = FIRST_PAUSE if clock() - began > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    def _connection(self) -> AbstractAsyncContextManager[EnclaveLink]:
        nodes = len(self._context.policy.roster)
        patience = self._context.settings.link_patience
        return connected(Path(self._socket), self._fetches.fetched, nodes, patience)

    async def _converse(self, enclave: EnclaveLink) -> None:
        while True:
            self._awake.clear()
            await self.questions.serve(enclave)
            await self._deliveries.endorsements(enclave)
            status = await self._policies.bring(enclave, await enclave.status())
            await self._note(enclave, await self._reports.hand_over(enclave, status))
            if not await self._step(enclave):
                await self._nap()

    async def _step(self, enclave: EnclaveLink) -> bool:
        """Move the oldest open round on; whether there may be more to do at once."""
        async with self._context.database.reading() as session:
            round_ = oldest_open(session)
        status = self._context.view.status
        assert status is not None
        if round_ is None:
            return await self._rounds.abandon_strays(enclave, status, None)
        return await self._rounds.advance(enclave, status, round_)

    async def _note(self, enclave: EnclaveLink, status: link.Status) -> None:
        """Note where the enclave stands; another instance than before starts with a fresh copy of its log."""
        context = self._context
        instance, before = (status.epoch, status.instance), context.view.instance
        if instance != before:
            self.questions.forget()
            dropped = await self.mirror.compare(enclave, status.log_size)
            context.log.info(
                "enclave instance", epoch=status.epoch, phase=status.phase, leaves_dropped=dropped
            )
            context.view.instance = instance
            if before is not None:
                await self._rounds.instance_changed()
        context.view.status, context.view.connected = status, True
        context.metrics.link_up.set(1)
        context.metrics.endorsed.set(len(status.endorsed))

    async def _nap(self) -> None:
        try:
            async with asyncio.timeout(TICK):
                await self._awake.wait()
        except TimeoutError:
            pass
