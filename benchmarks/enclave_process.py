"""An enclave alone in a fresh process: it gets control messages by pipe and vectors as files, in pieces.

So its memory holds what an enclave holds and nothing of the nodes, who live in the measuring process.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from tests.playground import Said

from benchmarks.federation import PIECE, LocalEnclave, parties
from benchmarks.resident import forget_peak, give_back_at_once, resident
from crimson_node.agent import Reply
from crimson_protocol.wire.messages.advertise import RoundNumbers


@dataclass(frozen=True)
class Peak:
    """Bytes held when Submit opened, and the most held from then to the release."""

    before: int
    most: int

    @property
    def growth(self) -> int:
        return self.most - self.before


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def serve(pipe: Connection, knobs: RoundNumbers, nodes: int) -> None:
    """Answer the measuring process until it closes the pipe."""
    give_back_at_once()
    enclave = LocalEnclave(parties(knobs, nodes))
    said: Iterator[Said] = iter(())
    before = most = 0
    while (request := pipe.recv())[0] != "end":
        match request:
            case ("attest", challenge):
                pipe.send(enclave.attest(challenge))
            case ("endorse", control):
                enclave.endorse(control)
                pipe.send(None)
            case ("open",):
                pipe.send(enclave.open())
            case ("receive", index, control, path):
                enclave.take(index, control, _pieces(path) if path else ())
                pipe.send(None)
            case ("close",):
                said = enclave.close()
                most = resident("VmHWM")
                pipe.send(None)
            case ("next",):
                pipe.send(next(said, None))
            case ("submit opens",):
                before = forget_peak()
                pipe.send(None)
            case ("peak",):
                pipe.send(Peak(before, most))


@dataclass
class RemoteEnclave:
    """The measuring process's end. Keys are not sent: both ends make them from the same seed."""

    knobs: RoundNumbers
    nodes: int
    spool: Path
    _pipe: Connection = field(init=False, repr=False)

    def __enter__(self) -> "RemoteEnclave":
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self.knobs, self.nodes), daemon=True)
        self._process.start()
        theirs.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._pipe.send(("end",))
        else:
            self._process.terminate()
        self._process.join()

    def attest(self, challenge: bytes) -> bytes:
        return bytes(self._ask("attest", challenge))

    def endorse(self, control: bytes) -> None:
        self._ask("endorse", control)

    def open(self) -> bytes:
        return bytes(self._ask("open"))

    def receive(self, index: int, reply: Reply) -> None:
        """Hand a reply over; a vector lies in a file only while the enclave reads it."""
        if reply.payload is None:
            self._ask("receive", index, reply.control, None)
            return
        path = self.spool / f"{index}.vector"
        path.write_bytes(reply.payload)
        self._ask("receive", index, reply.control, path)
        path.unlink()

    def close(self) -> Iterator[Said]:
        """End the phase; messages are fetched one by one, as the enclave makes them one by one."""
        self._ask("close")
        while (said := self._ask("next")) is not None:
            yield said

    def submit_opens(self) -> None:
        """Every node has its deliveries: from here on the peak counts."""
        self._ask("submit opens")

    def peak(self) -> Peak:
        """The peak up to the end of the last phase."""
        found = self._ask("peak")
        assert isinstance(found, Peak)
        return found

    def _ask(self, *request: object) -> object:
        self._pipe.send(request)
        return self._pipe.recv()
