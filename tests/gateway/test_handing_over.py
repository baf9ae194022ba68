"""What the gateway hands to its enclave: newer policies until they are taken, reports once, and releases back."""

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.gateway.federation import Federation, Together
from tests.playground import default_numbers, initial
from tests.repositories import write_repository

from crimson_gateway.store.database import Database
from crimson_gateway.store.reports import number_reports, one_line, report, undelivered_reports
from crimson_protocol.events import Event
from crimson_protocol.transcript import model_digest

SECOND = "second"


def soon(holds: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether something comes to hold."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.1)
    return False


def with_second_model(federation: Federation) -> bytes:
    """Sign the next policy, with one more model, and give its initial artifact. Nothing is published yet."""
    policy, numbers = federation.parties.policy, default_numbers(6, parameters=9)
    artifact = initial(numbers)
    rules = replace(policy.models[0], model=SECOND, numbers=numbers, initial_digest=model_digest(artifact))
    models = tuple(sorted((*policy.models, rules), key=lambda known: known.model))
    federation.parties = federation.governed(federation.parties, serial=policy.serial + 1, models=models)
    return artifact


def test_a_bundle_that_comes_before_its_artifact_is_handed_over_once_it_is_there(federate):
    federation = federate(6)
    artifact = with_second_model(federation)
    write_repository(federation.home, federation.parties)
    log = federation.folder / "gateway.log"
    assert soon(lambda: "the enclave refuses the policy" in log.read_text())
    assert federation.enclave.session.policy.serial == 1
    write_repository(federation.home, federation.parties, [artifact])
    assert soon(lambda: federation.enclave.session.policy.serial == 2)


def test_a_release_that_the_gateway_did_not_file_is_said_again_at_the_next_start(federate):
    """The enclave is killed once it sealed a release anew, before anybody has it: who joined needs it all the same."""
    federation = federate(6)
    round_ = federation.order_round()
    assert set(Together(federation.hospitals()).join().values()) == {"released"}
    assert federation.round(round_["id"])["state"] == "released"
    before = federation.client(0).ask("GET", "/v1/models/model/release").content
    federation.publish(expires=federation.parties.policy.expires + 1)
    assert soon(lambda: federation.enclave.session.policy.serial == 2)
    assert soon(lambda: federation.client(0).ask("GET", "/v1/models/model/release").content != before)
    anew = federation.client(0).ask("GET", "/v1/models/model/release").content
    # The gateway goes back to what it had, as if it had been killed before it filed the other one.
    federation.kill()
    federation.enclave.kill()
    forget_release(federation.home, before)
    federation.enclave.start()
    federation.start()
    assert soon(lambda: federation.client(0).ask("GET", "/v1/models/model/release").content == anew)


def forget_release(home: Path, release: bytes) -> None:
    """The database as it was before the newest release was filed."""
    with closing(sqlite3.connect(home / "gateway.db")) as database, database:
        database.execute("UPDATE published SET digest = ?", (hashlib.sha256(release).digest(),))


# Reports.


def numbered(folder: Path, moments: list[datetime], logged: int = 0) -> list[int]:
    """Numbers of reports that were noted at these moments and told one by one."""

    async def tell() -> list[int]:
        database, found = Database(folder / "gateway.db"), []
        await database.migrate()
        for moment in moments:
            async with database.writing() as session:
                report(session, "node-suspended", "site-1", "operator", moment)
            for _ in range(2):
                async with database.writing() as session:
                    number_reports(session, undelivered_reports(session, 64), logged)
            async with database.reading() as session:
                found.append(undelivered_reports(session, 64)[-1].number)
        await database.close()
        return found

    return asyncio.run(tell())


def test_a_clock_that_goes_back_hides_no_report(tmp_path):
    now = datetime.now(UTC)
    assert numbered(tmp_path, [now + timedelta(days=9000), now, now - timedelta(days=9)]) == [1, 2, 3]


def test_a_lost_database_goes_on_above_what_the_log_has(tmp_path):
    assert numbered(tmp_path, [datetime.now(UTC)] * 2, logged=70) == [71, 72]


@pytest.mark.parametrize(
    ("text", "most", "line"),
    [("a\nb\x1b[31m", 64, "a b [31m"), ("é" * 64, 64, "é" * 32), ("😀" * 20, 10, "😀😀"), ("", 64, "-")],
)
def test_what_is_reported_is_one_line_that_the_log_takes(text, most, line):
    assert one_line(text, most) == line


def test_reports_reach_the_log_once_although_everything_is_killed_in_between(federate):
    federation = federate(6)
    operator = federation.operator()
    body = b'{"reason": "its machine is being rebuilt"}'
    assert operator.ask("POST", "/v1/nodes/site-5/suspension", body).status_code == 204
    federation.kill()
    federation.start()
    assert federation.operator().ask("DELETE", "/v1/nodes/site-5/suspension").status_code == 204

    def logged() -> list[str]:
        events = [Event.from_bytes(leaf, 4096) for leaf in federation.enclave.session.log.leaves]
        return [event.reported.what for event in events if event.reported is not None]

    assert soon(lambda: logged() == ["node-suspended", "node-resumed"])
    federation.enclave.kill()
    federation.enclave.start()
    assert soon(lambda: federation.enclave.session.reports == 2)
    time.sleep(1.5)
    assert logged() == ["node-suspended", "node-resumed"]
