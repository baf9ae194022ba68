"""Frames over one stream: a body is read only once its kind is expected and its length within the cap."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection

from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import link
from crimson_protocol.wire.records import Record


class LinkLost(Exception):
    """The enclave closed the link, cannot be reached, or fell silent. `code` says which."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the link to the enclave is down [{code}]")
        self.code = code


class FrameStream:
    """Sends and receives frames. `patience`: seconds without a byte until the other side counts as gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: float) -> None:
        self._reader, self._writer, self._patience = reader, writer, patience

    async def send(self, message: Record) -> None:
        """One record. Raises LinkLost."""
        await self._write(link.frame(message))

    async def send_pieces(self, pieces: AsyncIterator[bytes]) -> None:
        """A run of raw bytes, however they are cut, and the empty piece that ends it. Raises LinkLost."""
        async for data in pieces:
            for start in range(0, len(data), link.PIECE):
                piece = data[start : start + link.PIECE]
                await self._write(link.header(link.Piece, len(piece)), piece)
        await self._write(link.header(link.Piece, 0))

    async def receive(
        self, expected: Collection[type[Record]], cap: Callable[[link.LinkRecord], int] | None = None
    ) -> Record:
        """The next frame, which must be of an `expected` kind. Raises LinkLost and PeerFault on the enclave.

        A frame that is not expected or too large is refused from its header alone.
        """
        record, length = link.parse_header(await self._read(link.HEADER), cap)
        if not issubclass(record, Record) or record not in expected:
            raise PeerFault(Refusal.MALFORMED, f"{record.__name__} is no answer to what was asked", "enclave")
        return link.parse_body(record, await self._read(length))

    async def _read(self, length: int) -> bytes:
        try:
            async with asyncio.timeout(self._patience):
                return await self._reader.readexactly(length)
        except TimeoutError as error:
            raise LinkLost("enclave-silent") from error
        except (OSError, EOFError) as error:
            raise LinkLost("enclave-gone") from error

    async def _write(self, *parts: bytes) -> None:
        try:
            self._writer.writelines(parts)
            async with asyncio.timeout(self._patience):
                await self._writer.drain()
        except TimeoutError as error:
            raise LinkLost("enclave-silent") from error
        except OSError as error:
            raise LinkLost("enclave-gone") from error

    async def close(self) -> None:
        """Drop the connection without waiting for the other side."""
        self._writer.transport.abort()
