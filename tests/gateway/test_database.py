"""Sessions of the store: who is cancelled in mid-commit, who else writes, what a crash leaves."""

import asyncio
import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import OperationalError

from crimson_gateway.authentication import NonceBook
from crimson_gateway.store import database as store
from crimson_gateway.store.database import Database
from crimson_gateway.store.letters import add_letters, round_and_letters
from crimson_gateway.store.log_leaves import leaves_from, replace_leaves
from crimson_gateway.store.rounds import add_round, mark_ready, ready_nodes
from crimson_gateway.store.seen import live_nonces
from crimson_protocol.wire import web

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def play(tmp_path):
    """Runs a play on a fresh database."""

    def run(scene):
        async def whole():
            database = Database(tmp_path / "gateway.db")
            await database.migrate()
            try:
                return await asyncio.wait_for(scene(database), 60)
            finally:
                await database.close()

        return asyncio.run(whole())

    return run


async def leaves(database) -> list[bytes]:
    async with database.reading() as session:
        return list(leaves_from(session, 0))


async def append(database, place: int) -> None:
    async with database.writing() as session:
        replace_leaves(session, place, [b"%d" % place])


def test_a_request_cancelled_again_and_again_in_mid_commit_neither_locks_nor_tears_the_writer(play):
    async def scene(database):
        entered, go, commit = threading.Event(), threading.Event(), database._commit

        async def slow(work):
            def held():
                entered.set()
                go.wait()
                work()

            await commit(held)

        database._commit = slow
        task = asyncio.create_task(append(database, 0))
        await asyncio.to_thread(entered.wait)
        database._commit = commit
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        # Another writer waits for the commit, readers and the loop do not.
        other = asyncio.create_task(append(database, 1))
        assert await leaves(database) == []
        assert not task.done() and not other.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await other
        assert await leaves(database) == [b"0", b"1"]

    play(scene)


def test_a_request_cancelled_before_its_commit_leaves_nothing(play):
    async def scene(database):
        async def stuck():
            async with database.writing() as session:
                replace_leaves(session, 0, [b"never"])
                session.flush()
                await asyncio.Event().wait()

        task = asyncio.create_task(stuck())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await append(database, 0)
        assert await leaves(database) == [b"0"]

    play(scene)


def test_another_process_that_writes_holds_up_writers_but_not_the_loop(play, tmp_path):
    async def scene(database):
        other = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(append(database, 0))
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert not task.done() and await leaves(database) == []
        other.execute("ROLLBACK")
        other.close()
        await task
        assert await leaves(database) == [b"0"]

    play(scene)


def test_another_process_that_never_ends_its_transaction_is_an_error_and_not_a_hang(
    play, tmp_path, monkeypatch
):
    monkeypatch.setattr(store, "PATIENCE", 0.05)

    async def scene(database):
        other = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError):
            await append(database, 0)
        other.close()
        await append(database, 0)

    play(scene)


def test_every_commit_is_synced_and_foreign_keys_hold(play):
    async def scene(database):
        for sessions in (database.reading, database.writing):
            async with sessions() as session:
                found = [
                    session.connection().exec_driver_sql(f"PRAGMA {name}").scalar()
                    for name in ("synchronous", "journal_mode", "foreign_keys")
                ]
            assert found == [2, "wal", 1]

    play(scene)


def test_letters_keep_the_order_in_which_they_were_said_and_go_to_whom_they_name(play):
    async def scene(database):
        said = [(None if n % 3 == 0 else n % 3, 7, bytes([n]) * 32, n) for n in range(60)]
        async with database.writing() as session:
            round_ = add_round(session, "model", NOW, NOW + timedelta(hours=1))
            add_letters(session, round_, said, NOW)
        async with database.reading() as session:
            found, letters = round_and_letters(session, round_.id, 2, 0)
            assert [letter.length for letter in letters] == [n for n in range(60) if n % 3 != 1]
            assert found.state == "gathering"
            after = letters[-1].sequence
            assert round_and_letters(session, round_.id, 2, after) == (found, [])
            assert round_and_letters(session, round_.id + 1, 2, 0) is None
        async with database.writing() as session:
            session.get(type(round_), round_.id).attempt = 1
        async with database.reading() as session:
            assert round_and_letters(session, round_.id, 2, 0)[1] == []

    play(scene)


def test_a_node_that_reports_ready_twice_is_ready_once(play):
    async def scene(database):
        async with database.writing() as session:
            round_ = add_round(session, "model", NOW, NOW + timedelta(hours=1))
        for minutes in range(2):
            async with database.writing() as session:
                mark_ready(session, round_.id, 3, NOW + timedelta(minutes=minutes))
        async with database.reading() as session:
            assert ready_nodes(session, round_.id) == {3}

    play(scene)


def test_an_expired_nonce_used_again_spoils_nobodys_commit(play):
    """Its row may be there still; those who share the commit must not pay for it."""

    async def scene(database):
        book, now = NonceBook(database), 1_900_000_000
        await book.spend("a", "again", None, now)
        later = now + web.NONCE_LIFETIME + 1
        book._sweep = later + 1000
        await asyncio.gather(
            *(book.spend(key, nonce, None, later) for key, nonce in (("a", "again"), ("b", "new")))
        )
        async with database.reading() as session:
            return {(key, nonce) for key, nonce, _ in live_nonces(session, later)}

    assert play(scene) == {("a", "again"), ("b", "new")}


def test_a_nonce_outlives_every_request_that_carries_it():
    """Signed as far ahead as counts, a request is refused by its nonce or by its time, whenever it comes again."""
    assert web.NONCE_LIFETIME > 2 * web.MAX_SKEW
