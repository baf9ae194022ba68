"""Questions to the enclave and its answers, as the link's frames define them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, cast

from crimson_gateway.enclave_link.stream import FrameStream, LinkLost
from crimson_protocol.errors import PeerFault
from crimson_protocol.events import Reported
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import link
from crimson_protocol.wire.records import Record

READ_AHEAD = 1 << 20

Fetched = Callable[[link.Fetch], AsyncIterator[bytes]]
"""Gives the spooled bytes that the enclave asks for again; nothing where there are none."""
Heed = Callable[[link.Said], Awaitable[None]]
"""Takes one message that the enclave says, before the next is read. May raise PeerFault."""

Answer = TypeVar("Answer", bound=Record)


class Refused(Exception):
    """The enclave will not answer this question now. `code` is its reason."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the enclave refused the question [{code}]")
        self.code = code


class EnclaveLink:
    """One connection. A question is asked once the one before was answered.

    Every method raises LinkLost where the connection ends, PeerFault where an answer breaks a rule (the
    connection must then be dropped), and Refused where the enclave says so (the connection stays good).
    """

    def __init__(self, stream: FrameStream, fetched: Fetched, nodes: int) -> None:
        self._stream, self._fetched = stream, fetched
        self.nodes = nodes

    async def status(self) -> link.Status:
        """Where the enclave stands."""
        return await self._ask(link.Hello(link.LINK_VERSION), link.Status)

    async def attest(self, nonce: bytes) -> bytes:
        """Signed evidence for a node's challenge of 32 bytes."""
        return (await self._ask(link.Attest(nonce), link.Attested)).evidence

    async def open(
        self,
        place: link.Place,
        heed: Heed,
        cap: Callable[[link.LinkRecord], int],
        strategy: str | None = None,
    ) -> link.Status:
        """Start the attempt at `place`, by another strategy than the policy's first choice where one is named; its
        Offer goes to `heed`."""
        question = link.Open(place.model, place.round, place.attempt, strategy)
        return await self._ask(question, link.Status, heed=heed, cap=cap)

    async def adopt(
        self,
        bundle: bytes,
        artifacts: tuple[bytes, ...],
        heed: Heed,
        cap: Callable[[link.LinkRecord], int],
    ) -> link.Status:
        """Follow a newer policy; `artifacts` are the initial ones of its models. Releases that its nodes can open go
        to `heed`."""
        return await self._ask(link.Adopt(bundle, artifacts), link.Status, heed=heed, cap=cap)

    async def tell(self, reports: tuple[Reported, ...]) -> link.Status:
        """Put what the gateway did into the log, each report once by its number."""
        return await self._ask(link.Tell(reports), link.Status)

    async def close(self, phase: str, heed: Heed, cap: Callable[[link.LinkRecord], int]) -> link.Status:
        """The phase is over; what the enclave says then goes to `heed`, message by message."""
        return await self._ask(link.Close(phase), link.Status, heed=heed, cap=cap)

    async def deliver(self, control: bytes, length: int | None, vector: AsyncIterator[bytes]) -> link.Heard:
        """Hand over a node's signed message and, where `length` is not None, its vector of so many bytes."""
        pieces = None if length is None else vector
        return await self._ask(link.Deliver(control, length), link.Heard, pieces=pieces)

    async def read_log(self, start: int) -> link.Leaves:
        """Leaves of the log from `start` on."""
        return await self._ask(link.ReadLog(start), link.Leaves)

    async def _ask(
        self,
        question: Record,
        closing: type[Answer],
        *,
        pieces: AsyncIterator[bytes] | None = None,
        heed: Heed | None = None,
        cap: Callable[[link.LinkRecord], int] | None = None,
    ) -> Answer:
        await self._stream.send(question)
        if pieces is not None:
            await self._stream.send_pieces(pieces)
        expected = {closing, link.Refused, link.Fetch} | ({link.Said} if heed else set())
        fetches = 0
        while True:
            answer = await self._stream.receive(expected, cap)
            if isinstance(answer, link.Fetch):
                fetches += 1
                # Each vector and each pair box once: more than that in one answer is an enclave that never ends.
                if fetches > self.nodes * (self.nodes + 1):
                    raise PeerFault(Refusal.TOO_LARGE, "the enclave fetches without end", "enclave")
                await self._stream.send_pieces(self._fetched(answer))
            elif isinstance(answer, link.Said) and heed is not None:
                await heed(answer)
            elif isinstance(answer, link.Refused):
                raise Refused(answer.code)
            else:
                return cast(Answer, answer)


@asynccontextmanager
async def connected(
    socket: Path, fetched: Fetched, nodes: int, patience: float
) -> AsyncIterator[EnclaveLink]:
    """A connection to the enclave's socket, dropped at the end of the block. Raises LinkLost."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_unix_connection(socket, limit=READ_AHEAD)
    except OSError as error:
        raise LinkLost("enclave-unreachable") from error
    stream = FrameStream(reader, writer, patience)
    try:
        yield EnclaveLink(stream, fetched, nodes)
    finally:
        await stream.close()
