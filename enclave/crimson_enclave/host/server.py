"""The loop: one thread, one host at a time, the newest connection wins while the old one is idle."""

import select
import socket
from collections.abc import Sequence
from contextlib import suppress

from crimson_enclave.host.folder import Uncertain
from crimson_enclave.host.gate import Gate
from crimson_enclave.host.stream import PATIENCE, Connection, LinkLost
from crimson_enclave.host.talk import say
from crimson_protocol.errors import PeerFault
from crimson_protocol.wire.link import Hello, Refused


def _readable(descriptors: Sequence[int]) -> set[int]:
    """Waits until one of them has something to read, or has ended."""
    watch = select.poll()
    for descriptor in descriptors:
        watch.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in watch.poll()}


class Server:
    """Serves a gate on a listening socket."""

    def __init__(self, listener: socket.socket, gate: Gate, patience: float = PATIENCE) -> None:
        self._listener, self._gate, self._patience = listener, gate, patience
        self._connection: Connection | None = None
        self._greeted = False

    def run(self) -> None:
        """For ever. Ends only where a restart alone can tell what is on disk (Uncertain)."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Wait for a question or a new connection, and deal with it."""
        current = self._connection
        watched = [self._listener.fileno(), *([current.fileno()] if current else [])]
        ready = _readable(watched)
        if current is not None and current.fileno() in ready and not self._serve(current):
            self._drop()
        if self._listener.fileno() in ready:
            self._accept()

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        self._drop()
        self._connection, self._greeted = Connection(peer, self._gate.limit, self._patience), False

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _serve(self, connection: Connection) -> bool:
        """Answer one question; whether the connection may stay."""
        try:
            question = connection.receive()
            if not self._greeted and not isinstance(question, Hello):
                return False
            self._greeted = True
            self._gate.answer(question, connection)
        except LinkLost:
            return False
        except PeerFault as fault:
            with suppress(LinkLost):
                connection.send(Refused(fault.code.value))
            return False
        except (Uncertain, MemoryError):
            raise
        except Exception as error:
            # Our own bug costs this question, not the process; its text might hold what must not leave.
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            line = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else "?"
            say(f"{type(error).__name__} at {line}")
            return False
        return True
