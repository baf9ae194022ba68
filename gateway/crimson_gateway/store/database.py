"""The database: one writer at a time, readers beside it, every commit durable before it is acknowledged.

Statements run on the event loop's thread: they are points and short ranges of a local file, cheaper than the two
changes of thread that each would cost elsewhere. What waits for the disk, a commit, runs in a thread of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from crimson_gateway.problems import Problem

MIGRATIONS = Path(__file__).parent / "migrations"
READERS = 4
PATIENCE = 10.0
"""Seconds for which a writer waits while another process writes."""
RETRY = 0.01


class Database:
    """Sessions over one SQLite file (WAL, synchronous=FULL).

    A session belongs to the task that opened it. Nothing is awaited inside a block but the block's own work on
    the database: while a writer's block is open, every other writer waits.
    """

    def __init__(self, path: Path) -> None:
        # The writer waits for other processes by itself, for SQLite's own waiting would hold up the loop.
        self._writer = _engine(path, "BEGIN IMMEDIATE", 0.0)
        self._readers = _engine(path, "BEGIN", PATIENCE)
        self._one_writer = asyncio.Lock()
        self._committer = ThreadPoolExecutor(1, "commit")

    async def migrate(self) -> None:
        """Bring the tables to this version."""
        with self._writer.connect() as connection:
            await _begin(connection.begin)
            _upgrade(connection)
            await self._commit(connection.commit)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Session]:
        """A session that sees one state of the database."""
        with Session(self._readers, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Session]:
        """A transaction, durable when the block ends; nothing of it stays where the block raises.

        A task that is cancelled while it commits hears of it once the commit has ended.
        Raises Problem(storage-full) where the disk is full.
        """
        async with self._one_writer:
            try:
                # Leaving the session's block rolls back what was not committed.
                with Session(self._writer, expire_on_commit=False) as session:
                    await _begin(session.connection)
                    yield session
                    session.flush()
                    await self._commit(session.commit)
            except OperationalError as error:
                if "full" in str(error.orig):
                    raise Problem("storage-full") from error
                raise

    async def _commit(self, commit: Callable[[], None]) -> None:
        """Commit beside the loop. The session stays the thread's until that has ended, whoever is cancelled."""
        committing = asyncio.get_running_loop().run_in_executor(self._committer, commit)
        cancelled: asyncio.CancelledError | None = None
        while not committing.done():
            try:
                await asyncio.wait([committing])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            # Asked for, so that a commit that failed as well is not reported as forgotten.
            committing.exception()
            raise cancelled
        committing.result()

    async def close(self) -> None:
        """Let go of the file."""
        self._committer.shutdown()
        self._writer.dispose()
        self._readers.dispose()


async def _begin(begin: Callable[[], object]) -> None:
    """Begin a transaction, once no other process writes. Raises OperationalError after PATIENCE."""
    clock = asyncio.get_running_loop().time
    end = clock() + PATIENCE
    while True:
        try:
            begin()
        except OperationalError as error:
            if "locked" not in str(error.orig) or clock() >= end:
                raise
        else:
            return
        await asyncio.sleep(RETRY)


def _engine(path: Path, begin: str, patience: float) -> Engine:
    # Sessions end their transactions themselves: a second rollback on return would only cost time. The pool has
    # no limit, for waiting for a connection would hold up the loop.
    engine = create_engine(
        f"sqlite+pysqlite:///{path}",
        poolclass=QueuePool,
        pool_size=READERS,
        max_overflow=-1,
        pool_reset_on_return=None,
        # Statements' values are nonces and answers: an error shows the statement alone.
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": PATIENCE},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        # The driver's own idea of when a transaction begins is switched off; `begin` below says it.
        connection.isolation_level = None
        cursor = connection.cursor()
        waiting = f"busy_timeout={int(1000 * patience)}"
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", waiting):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
