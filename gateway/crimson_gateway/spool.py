"""The spool: bodies on disk, named by their SHA-256, streamed in and out, never whole in memory.

A file is written under a temporary name, synced, and renamed only once its digest is what was announced.
Folders ("shelves") group what is removed together.
"""

import asyncio
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from crimson_gateway.files import make_folder, sync_folder
from crimson_gateway.problems import Problem

BATCH = 1 << 20
"""Bytes gathered before one write: few large system calls, and hashing that runs without the interpreter."""
PIECE = 1 << 18
VECTORS = 512
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Incoming:
    """A body on its way in. Feed it, then keep it; leaving the block without keeping removes it."""

    def __init__(self, spool: "Spool") -> None:
        self._spool = spool
        self._path = spool.incoming / secrets.token_hex(16)
        self._hash = hashlib.sha256()
        self._descriptor = -1
        self._gathered: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Task[None] | None = None
        self.length = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        # A write that still runs owns the descriptor: it must end first, even where this task is cancelled.
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._path.unlink(missing_ok=True)

    async def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises Problem(storage-full)."""
        self._gathered.append(chunk)
        self._size += len(chunk)
        self.length += len(chunk)
        if self._size >= BATCH:
            await self._next(self._write)

    async def keep(self, shelf: str, digest: bytes) -> None:
        """Make the body durable under its digest. Raises Problem(digest-differs, storage-full)."""
        await self._next(self._finish, digest, self._spool.path(shelf, digest))
        await self._written()

    def _finish(self, batch: list[bytes], digest: bytes, path: Path) -> None:
        self._write(batch)
        if self._hash.digest() != digest:
            raise Problem("digest-differs")
        os.fsync(self._descriptor)
        make_folder(path.parent)
        os.replace(self._path, path)
        sync_folder(path.parent)

    async def _next(self, work: Callable[..., None], *arguments: object) -> None:
        """Begin the next batch's work in a thread. While it is hashed and written, the next arrives."""
        await self._written()
        batch, self._gathered, self._size = self._gathered, [], 0
        self._writing = asyncio.create_task(asyncio.to_thread(work, batch, *arguments))

    async def _written(self) -> None:
        if self._writing is not None:
            try:
                await asyncio.shield(self._writing)
            except OSError as error:
                raise storage_problem(error) from error

    def _write(self, batch: list[bytes]) -> None:
        if self._descriptor < 0:
            self._descriptor = _create(self._path)
        for chunk in batch:
            self._hash.update(chunk)
        for start in range(0, len(batch), VECTORS):
            _write_all(self._descriptor, batch[start : start + VECTORS])


class Spool:
    """Content-addressed files below `root`. `reserve`: bytes of disk that uploads must leave free."""

    def __init__(self, root: Path, reserve: int) -> None:
        self._root, self._reserve = root, reserve
        self.incoming = make_folder(root / "incoming")
        # What a killed process left half-written was never acknowledged.
        for path in self.incoming.iterdir():
            path.unlink()

    def path(self, shelf: str, digest: bytes) -> Path:
        """Where a body lies, or would lie."""
        return self._root / shelf / digest.hex()

    def receive(self, length: int = 0) -> Incoming:
        """A place for a body of `length` bytes. Raises Problem(storage-full) where there is no room for it."""
        if self.free() < length:
            raise Problem("storage-full")
        return Incoming(self)

    def free(self) -> int:
        """Bytes that uploads may still take."""
        return shutil.disk_usage(self._root).free - self._reserve

    async def put(self, shelf: str, data: bytes) -> bytes:
        """Store a body that is in memory; its digest. Raises Problem(storage-full)."""
        digest = hashlib.sha256(data).digest()
        async with self.receive(len(data)) as incoming:
            await incoming.feed(data)
            await incoming.keep(shelf, digest)
        return digest

    async def read(self, shelf: str, digest: bytes) -> bytes:
        """A small body. Raises FileNotFoundError."""
        return await asyncio.to_thread(self.path(shelf, digest).read_bytes)

    async def pieces(self, shelf: str, digest: bytes) -> AsyncIterator[bytes]:
        """A body in pieces, in order. Raises FileNotFoundError."""
        file = await asyncio.to_thread(open, self.path(shelf, digest), "rb", 0)
        try:
            while piece := await asyncio.to_thread(file.read, PIECE):
                yield piece
        finally:
            file.close()

    def link(self, shelf: str, digest: bytes, other: str) -> None:
        """The same body on another shelf."""
        source, target = self.path(shelf, digest), self.path(other, digest)
        make_folder(target.parent)
        if not target.exists():
            os.link(source, target)
        sync_folder(target.parent)

    def remove(self, shelf: str, digest: bytes) -> None:
        """Forget one body."""
        self.path(shelf, digest).unlink(missing_ok=True)

    def clear(self, shelf: str) -> None:
        """Forget a whole shelf."""
        shutil.rmtree(self._root / shelf, ignore_errors=True)

    def shelves(self, parent: str) -> list[str]:
        """Names of the shelves directly below `parent`."""
        folder = self._root / parent
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def storage_problem(error: OSError) -> Problem | OSError:
    """The problem behind a full disk; any other error as it is."""
    return Problem("storage-full") if error.errno in _FULL else error


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _write_all(descriptor: int, chunks: list[bytes]) -> None:
    """writev until everything is written: a disk that fills up writes a part first."""
    views = [memoryview(chunk) for chunk in chunks if chunk]
    while views:
        written = os.writev(descriptor, views)
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if views and written:
            views[0] = views[0][written:]
