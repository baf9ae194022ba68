"""The node's journal: an append-only, hash-chained file of what it saw, sent and signed.

Every entry is on disk before the message it stands for leaves. A kill in the middle of a write leaves a
torn last entry, which is cut off on the next start: its message was never sent.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from crimson_node.seen import (
    Entry,
    InstanceEndorsed,
    OfferSeen,
    PolicySeen,
    ReleaseCharged,
    Seen,
    UpdateSketched,
    VectorSent,
    VerdictConfirmed,
    VerdictReleased,
    fold,
)
from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.records import BytesUpTo, Count, Digest, OneOf, Record

KINDS: dict[str, type[Record]] = {
    "policy": PolicySeen,
    "endorsed": InstanceEndorsed,
    "offer": OfferSeen,
    "vector": VectorSent,
    "confirmed": VerdictConfirmed,
    "released": VerdictReleased,
    "sketched": UpdateSketched,
    "charged": ReleaseCharged,
}
_KIND_OF = {record: kind for kind, record in KINDS.items()}
MAX_ENTRY = 1 << 20
MAX_LINE = MAX_ENTRY + 256
GENESIS = bytes(32)


@dataclass(frozen=True)
class Line(Record):
    """One journal line: it names the hash of the line before."""

    previous: Digest
    time: Count
    kind: Annotated[str, OneOf(tuple(KINDS))]
    body: Annotated[bytes, BytesUpTo(MAX_ENTRY)]


class Journal:
    """Open for appending; `seen` is always what the file says."""

    def __init__(self, path: Path) -> None:
        """Read and verify the file, or start it. Raises CallerFault(LOG_WENT_BACK) on a broken chain."""
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines, whole = _read(path)
        if path.exists() and path.stat().st_size > whole:
            os.truncate(path, whole)
        self._last, self._length = lines[-1][0] if lines else GENESIS, whole
        self.seen: Seen = fold(entry for _, entry in lines)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        sync_directory(path.parent)

    def append(self, entry: Entry, time: int) -> None:
        """Make the entry durable; only then may its message be sent."""
        line = Line(self._last, time, _KIND_OF[type(entry)], entry.to_bytes()).to_bytes()
        data = len(line).to_bytes(4, "big") + line
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, "the journal could not be written", str(self._path))
            os.fsync(self._file)
        except OSError:
            # A full disk may take a part, a failing one may keep what it did not confirm: nothing may follow
            # either, and the message must not leave.
            os.ftruncate(self._file, self._length)
            raise
        self._length += len(data)
        self._last = hashlib.sha256(line).digest()
        self.seen = self.seen.after(entry)

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """Every entry with its time, from the file."""
        for _, entry, time in _lines(self._path.read_bytes()):
            yield time, entry

    def close(self) -> None:
        """Release the file, once."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


@dataclass(frozen=True)
class Reading:
    """A journal as its file holds it. head: hash of the last line. torn: bytes of a line that a kill cut off."""

    entries: tuple[tuple[int, Entry], ...]
    head: bytes
    torn: int


def read_journal(path: Path) -> Reading:
    """Read and verify a journal without touching it, also beside a running agent.

    Raises CallerFault(LOG_WENT_BACK) on a broken chain, and OSError.
    """
    data = path.read_bytes()
    lines = list(_lines(data))
    head = lines[-1][0] if lines else GENESIS
    return Reading(tuple((time, entry) for _, entry, time in lines), head, len(data) - _whole(data))


def _read(path: Path) -> tuple[list[tuple[bytes, Entry]], int]:
    """Hash and entry of every whole line, and the length of the file up to the last of them."""
    data = path.read_bytes() if path.exists() else b""
    lines = [(digest, entry) for digest, entry, _ in _lines(data)]
    return lines, _whole(data)


def _whole(data: bytes) -> int:
    """Length of the file up to its last whole line. What is torn is a line that this code could have written:
    cutting off anything else would forget confirmations."""
    at = 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if not 0 < length <= MAX_LINE:
            raise CallerFault(Refusal.LOG_WENT_BACK, f"the journal is damaged at byte {at}")
        if at + 4 + length > len(data):
            break
        at += 4 + length
    return at


def _lines(data: bytes) -> Iterator[tuple[bytes, Entry, int]]:
    at, previous, whole = 0, GENESIS, _whole(data)
    while at < whole:
        length = int.from_bytes(data[at : at + 4], "big")
        raw = data[at + 4 : at + 4 + length]
        try:
            line = Line.from_bytes(raw, MAX_LINE)
            entry = KINDS[line.kind].from_bytes(line.body, MAX_ENTRY)
        except PeerFault as fault:
            raise CallerFault(Refusal.LOG_WENT_BACK, f"the journal is damaged at byte {at}") from fault
        if line.previous != previous:
            raise CallerFault(Refusal.LOG_WENT_BACK, f"the journal's chain is broken at byte {at}")
        previous = hashlib.sha256(raw).digest()
        yield previous, entry, line.time  # type: ignore[misc]
        at += 4 + length


def sync_directory(path: Path) -> None:
    """Make a new or renamed entry of the directory durable; the file's own fsync does not."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
