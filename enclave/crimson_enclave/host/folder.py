"""The state folder: log, sealed files and blob, written so that a crash at any moment leaves one whole state.

Log entries first, then the files, then the blob by rename: the rename is the one commit point. What lies
in the folder beyond what the blob names was never told to anybody and is cut off.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from crimson_enclave.host.failure import BAD_INPUT, Failure
from crimson_enclave.sealed.record import Stored
from crimson_enclave.sealed.vault import Damaged, checked
from crimson_protocol.events import MAX_EVENT
from crimson_protocol.refusal import Refusal

BLOB, LOG, LOCK = "state", "log", "lock"
_PREFIX, _TEMPORARY = "file-", ".new"
_HEAD = 4
_PAUSE = 0.05


class Uncertain(Exception):
    """The disk may hold the old state or the new one: only a restart can tell."""


class StateFolder:
    """Open for one process at a time; `size` is how many log entries the last committed blob names."""

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        """Take the folder for this process. Raises Failure where another enclave runs on it.

        patience: seconds to wait for one that was just killed to be gone.
        """
        self._path = path
        self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = time.monotonic() + patience
        while not self._locked():
            if time.monotonic() >= end:
                os.close(self._lock)
                text = "another enclave is running on this state"
                raise Failure(BAD_INPUT, "state-in-use", text, "stop it first, or use another --home")
            time.sleep(_PAUSE)
        self.size, self._length = 0, 0

    def _locked(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Leave the folder to another process."""
        os.close(self._lock)

    def blob(self) -> bytes | None:
        """The sealed state; None before the first start. Damaged where the rest is there without it."""
        try:
            return (self._path / BLOB).read_bytes()
        except FileNotFoundError:
            # The first commit writes one file, the policy, and no log: that is what a cut-off first start leaves.
            files = [path for path in self._path.iterdir() if path.name.startswith(_PREFIX)]
            if (self._path / LOG).exists() or len(files) > 1:
                text = "state/ holds a log or files, but no sealed state"
                raise Damaged(Refusal.LOG_WENT_BACK, text) from None
            return None

    def leaves(self, size: int) -> list[bytes]:
        """The first `size` log entries, fewer where there are fewer. What follows is cut at the next commit."""
        try:
            data = (self._path / LOG).read_bytes()
        except FileNotFoundError:
            data = b""
        found: list[bytes] = []
        at = 0
        while len(found) < size and at + _HEAD <= len(data):
            length = int.from_bytes(data[at : at + _HEAD], "big")
            if length > MAX_EVENT or at + _HEAD + length > len(data):
                break
            found.append(data[at + _HEAD : at + _HEAD + length])
            at += _HEAD + length
        self.size, self._length = len(found), at
        return found

    def read(self, stored: Stored) -> bytes:
        """A file that the state names, or Damaged."""
        try:
            return checked(stored, self._file(stored).read_bytes())
        except FileNotFoundError as error:
            raise Damaged(Refusal.MALFORMED, "a file that the sealed state names is missing") from error

    def commit(
        self, leaves: Sequence[bytes], files: Iterable[tuple[Stored, bytes]], blob: bytes, named: set[Stored]
    ) -> None:
        """Make a state durable: new log entries, new files, then the blob that names them all.

        Raises OSError, and the state before is still the one; or Uncertain.
        """
        length = self._append(leaves) if leaves else self._length
        for stored, data in files:
            self._write(self._file(stored), data)
        temporary, place = self._path / (BLOB + _TEMPORARY), self._path / BLOB
        self._write(temporary, blob)
        os.replace(temporary, place)
        try:
            self._sync()
        except OSError as error:
            raise Uncertain("the state folder could not be flushed") from error
        self.size, self._length = self.size + len(leaves), length
        self._prune({self._file(stored).name for stored in named})

    def _append(self, leaves: Sequence[bytes]) -> int:
        data = b"".join(len(leaf).to_bytes(_HEAD, "big") + leaf for leaf in leaves)
        log = os.open(self._path / LOG, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # What an earlier, failed commit left behind goes first.
            os.ftruncate(log, self._length)
            os.lseek(log, self._length, os.SEEK_SET)
            _write_all(log, data)
            os.fsync(log)
        finally:
            os.close(log)
        return self._length + len(data)

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path if path.suffix == _TEMPORARY else path.with_suffix(_TEMPORARY)
        try:
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write_all(file, data)
                os.fsync(file)
            finally:
                os.close(file)
            if temporary != path:
                os.replace(temporary, path)
                self._sync()
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise

    def _sync(self) -> None:
        folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _prune(self, names: set[str]) -> None:
        with suppress(OSError):
            for path in self._path.iterdir():
                if path.suffix == _TEMPORARY or (path.name.startswith(_PREFIX) and path.name not in names):
                    path.unlink()

    def _file(self, stored: Stored) -> Path:
        return self._path / (_PREFIX + stored.digest.hex())


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.write(file, view)
        if written == 0:
            raise OSError(errno.ENOSPC, "nothing more can be written")
        view = view[written:]
