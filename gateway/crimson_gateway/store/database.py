"""The database: one writer at a time, readers beside it, every commit durable before it is acknowledged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from crimson_gateway.problems import Problem

MIGRATIONS = Path(__file__).parent / "migrations"
READERS = 4


class Database:
    """Sessions over one SQLite file (WAL, synchronous=FULL)."""

    def __init__(self, path: Path) -> None:
        self._writer = _engine(path, "BEGIN IMMEDIATE", 1)
        self._readers = _engine(path, "BEGIN", READERS)
        self._one_writer = asyncio.Lock()

    async def migrate(self) -> None:
        """Bring the tables to this version."""
        async with self._writer.connect() as connection:
            await connection.run_sync(_upgrade)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session that sees one state of the database."""
        async with AsyncSession(self._readers, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """A transaction, durable when the block ends; nothing of it stays where the block raises.

        Raises Problem(storage-full) where the disk is full.
        """
        async with self._one_writer:
            try:
                async with AsyncSession(self._writer, expire_on_commit=False) as session, session.begin():
                    yield session
            except OperationalError as error:
                if "full" in str(error.orig):
                    raise Problem("storage-full") from error
                raise

    async def close(self) -> None:
        """Let go of the file."""
        await self._writer.dispose()
        await self._readers.dispose()


def _engine(path: Path, begin: str, connections: int) -> AsyncEngine:
    # Sessions end their transactions themselves: a second rollback on return would only cost time.
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}", pool_size=connections, max_overflow=0, pool_reset_on_return=None
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        # The driver's own idea of when a transaction begins is switched off; `begin` below says it.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
