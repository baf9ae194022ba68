"""A disk that fills up: a clear problem, no half file, and what was acknowledged before stays."""

import asyncio
import errno
import hashlib
import os
import resource
import secrets

import pytest
from sqlalchemy import text
from tests.gateway.federation import Federation, submitting_round, valid_now
from tests.playground import default_numbers, make_parties

from crimson_gateway.problems import Problem
from crimson_gateway.spool import BATCH, Spool
from crimson_gateway.store.database import Database
from crimson_protocol.layout import Layout

NODES = 4
LARGEST_FILE = 4 << 20


@pytest.fixture
def large(tmp_path):
    """A gateway whose vectors have 6 MB."""
    parties = valid_now(make_parties(NODES, default_numbers(NODES, parameters=1_500_000), seed="disk"))
    federation = Federation(tmp_path, parties=parties)
    yield federation
    federation.close()


def put(federation: Federation, round_id: int, body: bytes):
    name = hashlib.sha256(body).hexdigest()
    return federation.client(0).ask("PUT", f"/v1/rounds/{round_id}/payloads/{name}", body)


def vector(federation: Federation) -> bytes:
    return secrets.token_bytes(Layout(federation.parties.policy.models[0].numbers).packed)


def test_a_write_that_the_system_refuses_is_a_problem_and_leaves_nothing(large):
    limit = (LARGEST_FILE, LARGEST_FILE)
    large.start(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    round_id = submitting_round(large)
    answer = put(large, round_id, vector(large))
    assert (answer.status_code, answer.json()["code"]) == (507, "storage-full")
    assert not [path for path in (large.home / "spool").rglob("*") if path.is_file()]
    assert large.client(1).ask("PUT", f"/v1/rounds/{round_id}/ready").status_code == 204
    large.kill()
    large.start()
    assert put(large, round_id, vector(large)).status_code == 201


def test_a_reserve_of_free_space_is_kept(large):
    large.set(free_space=1 << 60)
    large.start()
    round_id = submitting_round(large)
    answer = put(large, round_id, vector(large))
    assert (answer.status_code, answer.json()["code"]) == (507, "storage-full")
    assert large.client(0).http.get("/readyz").json()["checks"]["spool"] is False


@pytest.mark.parametrize("call", ["writev", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_half_file_whichever_call_fails(tmp_path, monkeypatch, call, code):
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    async def store() -> None:
        spool = Spool(tmp_path / "spool", 0)
        body = secrets.token_bytes(3 * BATCH + 5)
        monkeypatch.setattr(os, call, fail)
        with pytest.raises(Problem) as caught:
            async with spool.receive(len(body)) as incoming:
                for start in range(0, len(body), 100_000):
                    await incoming.feed(body[start : start + 100_000])
                await incoming.keep("shelf", hashlib.sha256(body).digest())
        assert caught.value.code == "storage-full"

    asyncio.run(store())
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]


def test_a_partial_write_is_continued(tmp_path, monkeypatch):
    real = os.writev

    async def store() -> None:
        spool = Spool(tmp_path / "spool", 0)
        body = secrets.token_bytes(2 * BATCH + 77)
        monkeypatch.setattr(
            os, "writev", lambda file, views: real(file, [views[0][: 1 + len(views[0]) // 2]])
        )
        digest = await spool.put("shelf", body)
        assert spool.path("shelf", digest).read_bytes() == body
        assert b"".join([piece async for piece in spool.pieces("shelf", digest)]) == body

    asyncio.run(store())


def test_leftovers_of_a_killed_process_are_removed_at_start(tmp_path):
    spool = Spool(tmp_path / "spool", 0)
    (spool.incoming / "half").write_bytes(b"half")
    Spool(tmp_path / "spool", 0)
    assert not list(spool.incoming.iterdir())


def test_a_full_database_is_a_problem_and_its_transaction_never_happened(tmp_path):
    async def fill() -> None:
        database = Database(tmp_path / "gateway.db")
        await database.migrate()
        async with database.writing() as session:
            pages = session.scalar(text("PRAGMA page_count"))
            session.execute(text(f"PRAGMA max_page_count={pages + 2}"))
        with pytest.raises(Problem) as caught:
            async with database.writing() as session:
                for index in range(200):
                    session.execute(text(f"INSERT INTO leaves VALUES ({index}, zeroblob(900))"))
        assert caught.value.code == "storage-full"
        async with database.reading() as session:
            assert session.scalar(text("SELECT count(*) FROM leaves")) == 0
        await database.close()

    asyncio.run(fill())
