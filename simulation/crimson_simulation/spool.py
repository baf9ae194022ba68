"""The relay's spool on disk: masked vectors and Share messages, as the gateway would keep them."""

from collections.abc import Iterator
from pathlib import Path

from crimson_protocol.wire.envelope import OVERHEAD, Envelope
from crimson_protocol.wire.messages.share import Share
from crimson_protocol.wire.table import BY_RECORD

PIECE = 1 << 18


class DirectorySpool:
    """Keeps one attempt's uploads; starts empty with every offer."""

    def __init__(self, directory: Path, nodes: int) -> None:
        self._directory = directory
        self._cap = BY_RECORD[Share].cap(nodes) + OVERHEAD
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.bytes_kept = 0
        self._boxes: dict[int, dict[int, bytes | None]] = {}

    def clear(self) -> None:
        """Forget the attempt before."""
        self._boxes.clear()
        for path in self._directory.iterdir():
            path.unlink()

    def keep_vector(self, node: int, payload: memoryview) -> None:
        """Store a packed vector as it was uploaded."""
        self._keep(f"{node}.vector", payload)

    def keep_control(self, node: int, control: bytes) -> None:
        """Store a Share envelope as it was uploaded; other control messages are not needed again."""
        if Envelope.from_bytes(control, self._cap).kind == BY_RECORD[Share].kind:
            self._keep(f"{node}.share", memoryview(control))

    def vector(self, node: int) -> Iterator[bytes]:
        """The stored vector in pieces."""
        with open(self._directory / f"{node}.vector", "rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def pair_box(self, dealer: int, recipient: int) -> bytes:
        """The pair box of one row of a stored Share; empty where there is none."""
        if dealer not in self._boxes:
            # Asked for once per lost neighbour: a Share is parsed at the first of them.
            control = (self._directory / f"{dealer}.share").read_bytes()
            share = Share.from_bytes(Envelope.from_bytes(control, self._cap).body, self._cap)
            self._boxes[dealer] = {row.recipient: row.pair_box for row in share.rows}
        return self._boxes[dealer].get(recipient) or b""

    def _keep(self, name: str, data: memoryview) -> None:
        (self._directory / name).write_bytes(data)
        self.bytes_kept += len(data)
