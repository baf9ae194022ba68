"""The outbox: the one masked vector of the running attempt and the signed header that goes with it.

What lies here is all that may ever be sent again for its attempt: after a kill the same bytes go out, or
none.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from crimson_node.durable import make_folder, write_file
from crimson_protocol.errors import PeerFault
from crimson_protocol.wire.records import BytesUpTo, Count, Digest, Name, Record

MAX_KEPT = 4096
PIECE = 1 << 18


@dataclass(frozen=True)
class Kept(Record):
    """A Submit that waits for the relay's word that it has it. `relay_round` is the relay's id of the round."""

    relay_round: Count
    model: Name
    round: Count
    attempt: Count
    t1: Digest
    digest: Digest
    length: Count
    header: Annotated[bytes, BytesUpTo(512)]


class Outbox:
    """Two files in a folder: `vector`, and `submit` while the vector is not acknowledged."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.vector, self._submit = folder / "vector", folder / "submit"

    def keep(self, payload: memoryview, kept: Kept) -> None:
        """Make vector and header durable. The header last: it is never there without its vector."""
        self._submit.unlink(missing_ok=True)
        write_file(self.vector, payload)
        write_file(self._submit, kept.to_bytes())

    def unsent(self) -> Kept | None:
        """The header that is not acknowledged yet, where its vector is whole."""
        with suppress(OSError, PeerFault):
            kept = Kept.from_bytes(self._submit.read_bytes(), MAX_KEPT)
            if self._digest() == (kept.digest, kept.length):
                return kept
        return None

    def acknowledged(self) -> None:
        """The relay has it: it need not be sent again."""
        self._submit.unlink(missing_ok=True)

    def clear(self) -> None:
        """The round is over: free the space."""
        self._submit.unlink(missing_ok=True)
        self.vector.unlink(missing_ok=True)

    def _digest(self) -> tuple[bytes, int]:
        digest, length = hashlib.sha256(), 0
        for piece in self._pieces():
            digest.update(piece)
            length += len(piece)
        return digest.digest(), length

    def _pieces(self) -> Iterator[bytes]:
        with self.vector.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
