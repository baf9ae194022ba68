"""Nodes' challenges to the enclave, answered between the driver's own steps."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

from crimson_gateway.enclave_link import EnclaveLink, Refused
from crimson_gateway.problems import Problem

WAITING, KNOWN = 256, 256
PATIENCE = 20.0


class Questions:
    """A short queue in front of the enclave. The same challenge gets the same evidence from one instance."""

    def __init__(self, wake: Callable[[], None], connected: Callable[[], bool]) -> None:
        self._wake, self._connected = wake, connected
        self._queue: deque[tuple[bytes, asyncio.Future[bytes]]] = deque()
        self._known: OrderedDict[bytes, bytes] = OrderedDict()

    async def evidence(self, nonce: bytes) -> bytes:
        """Signed evidence for a challenge. Raises Problem(enclave-unavailable)."""
        if nonce in self._known:
            return self._known[nonce]
        if not self._connected():
            raise Problem("enclave-unavailable", headers={"Retry-After": "1"})
        if len(self._queue) >= WAITING:
            raise Problem("enclave-unavailable", "too many challenges wait", headers={"Retry-After": "2"})
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._queue.append((nonce, future))
        self._wake()
        try:
            async with asyncio.timeout(PATIENCE):
                return await future
        except TimeoutError as error:
            raise Problem("enclave-unavailable", headers={"Retry-After": "5"}) from error

    async def serve(self, link: EnclaveLink) -> None:
        """Put to the enclave what waits now."""
        for _ in range(len(self._queue)):
            nonce, future = self._queue[0]
            if future.done():
                self._queue.popleft()
                continue
            try:
                evidence = await link.attest(nonce)
            except Refused:
                self._queue.popleft()
                future.set_exception(Problem("enclave-unavailable"))
                continue
            self._queue.popleft()
            self._known[nonce] = evidence
            while len(self._known) > KNOWN:
                self._known.popitem(last=False)
            if not future.done():
                future.set_result(evidence)

    def forget(self) -> None:
        """Another instance runs: what the one before said is void."""
        self._known.clear()
