"""The room itself: what it loads, its tables, its description of itself, and the catalogue of problems."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from crimson_gateway.app import NO_TELEMETRY, create_app
from crimson_gateway.problems import CATALOGUE
from crimson_gateway.store.database import Database
from crimson_gateway.store.tables import Base

ROOM = Path(__file__).parents[2] / "gateway"
MODULES = sorted(
    ".".join(path.relative_to(ROOM).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOM / "crimson_gateway").rglob("*.py")
    if "migrations" not in path.parts
)


def test_the_gateway_loads_no_secret_code_and_no_other_room():
    code = f"import sys, {', '.join(MODULES)}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "crimson_gateway.driver.driver" in loaded
    forbidden = ("crimson_protocol.secret", "crimson_enclave", "crimson_node", "crimson_simulation", "torch")
    assert not [name for name in loaded if name.startswith(forbidden)]
    assert "crimson_protocol.crypto.primitives" not in loaded


def test_a_serving_gateway_loads_nothing_that_asks_other_machines():
    code = "import sys, crimson_gateway.commands, crimson_gateway.running; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "crimson_gateway.driver.driver" in loaded
    assert not loaded & {"httpx", "crimson_gateway.operating.client"}


def test_two_files_alone_call_cryptography():
    users = {
        path.name for path in (ROOM / "crimson_gateway").rglob("*.py") if "cryptography" in _imports(path)
    }
    assert users == {"tls.py", "operator_keys.py"}


def _imports(path: Path) -> set[str]:
    return set(re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE))


def test_the_description_of_the_api_is_fresh():
    written = json.loads((ROOM / "openapi.json").read_text())
    assert written == create_app().openapi(), "run: python -m crimson_gateway.openapi"


def test_the_framework_sends_nothing_anywhere(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert set(NO_TELEMETRY.values()) == {False} and not create_app()._native_telemetry.enabled()


def test_migrations_and_tables_agree(tmp_path):
    async def migrate_twice():
        database = Database(tmp_path / "gateway.db")
        await database.migrate()
        await database.migrate()
        await database.close()

    asyncio.run(migrate_twice())
    engine = create_engine(f"sqlite:///{tmp_path / 'gateway.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_every_problem_that_is_raised_is_in_the_catalogue_and_the_other_way_round():
    raised = set()
    for path in (ROOM / "crimson_gateway").rglob("*.py"):
        raised |= set(re.findall(r"Problem\(\s*\"([a-z-]+)\"", path.read_text()))
    assert raised <= set(CATALOGUE)
    assert set(CATALOGUE) - raised <= {"not-found", "method-not-allowed", "bad-request"}


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_problem_says_what_happened_and_what_to_do(code):
    kind = CATALOGUE[code]
    assert kind.title and kind.hint and 400 <= kind.status < 600
