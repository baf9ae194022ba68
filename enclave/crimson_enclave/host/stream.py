"""Frames over the one socket: blocking, with a deadline on everything that has begun, sizes before bytes."""

import socket
import time
from collections.abc import Callable, Iterator

from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import link
from crimson_protocol.wire.records import Record

PATIENCE = 30.0
"""Seconds that a frame may take once its first byte is there, and that the host may take to read an answer."""
SLOWEST = 1 << 18
"""Bytes a second below which a run of pieces is given up."""


class LinkLost(Exception):
    """The host is gone, too slow, or does not speak this protocol: the connection is dropped, nothing else."""


class Connection:
    """One host's connection."""

    def __init__(
        self, peer: socket.socket, limit: Callable[[link.LinkRecord], int], patience: float = PATIENCE
    ) -> None:
        """limit: largest body of a kind, below the kind's own cap."""
        self._peer, self._limit, self._patience = peer, limit, patience
        self._run: Iterator[bytes] | None = None

    def fileno(self) -> int:
        """For `poll`."""
        return self._peer.fileno()

    def close(self) -> None:
        """Drop it."""
        self._peer.close()

    def send(self, message: Record) -> None:
        """One record. Raises LinkLost."""
        self._settle()
        self._peer.settimeout(self._patience)
        try:
            self._peer.sendall(link.frame(message))
        except OSError as error:
            raise LinkLost("the host does not read") from error

    def receive(self) -> Record:
        """The next record. Raises LinkLost for an end or delay, PeerFault for what breaks the protocol."""
        self._settle()
        deadline = time.monotonic() + self._patience
        kind, length = self._head(deadline)
        if issubclass(kind, link.Piece):
            raise PeerFault(Refusal.MALFORMED, "a piece that nobody asked for")
        return link.parse_body(kind, bytes(self._read(length, deadline)))

    def pieces(self, most: int) -> Iterator[bytes]:
        """A run of raw bytes, `most` in all. One that is not read to its end is read over before anything else."""
        self._settle()
        self._run = self._pieces(most)
        return self._run

    def _pieces(self, most: int) -> Iterator[bytes]:
        end, taken = time.monotonic() + self._patience + most / SLOWEST, 0
        while True:
            deadline = min(time.monotonic() + self._patience, end)
            # Whatever breaks a run is the host's doing, never that of the node whose vector it is.
            try:
                kind, length = self._head(deadline)
            except PeerFault as fault:
                raise LinkLost("no frame in the middle of a run") from fault
            if kind is not link.Piece:
                raise LinkLost("another frame in the middle of a run")
            if not length:
                self._run = None
                return
            taken += length
            if taken > most:
                raise LinkLost("a run longer than announced")
            yield bytes(self._read(length, deadline))

    def _settle(self) -> None:
        """Read over the rest of a run that its reader gave up."""
        if self._run is not None:
            for _ in self._run:
                pass
            self._run = None

    def _head(self, deadline: float) -> tuple[link.LinkRecord, int]:
        return link.parse_header(bytes(self._read(link.HEADER, deadline)), self._limit)

    def _read(self, length: int, deadline: float) -> bytearray:
        data = bytearray(length)
        view = memoryview(data)
        while view:
            left = deadline - time.monotonic()
            if left <= 0:
                raise LinkLost("a frame came too slowly")
            self._peer.settimeout(left)
            try:
                taken = self._peer.recv_into(view)
            except OSError as error:
                raise LinkLost("the link broke") from error
            if taken == 0:
                raise LinkLost("the host closed the link")
            view = view[taken:]
        return data
