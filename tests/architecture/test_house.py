"""The house stays readable, and nothing that only tests or simulations need reaches a trusted package."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("protocol", "enclave", "gateway", "node", "governance", "simulation")
LONGEST_FILE, LONGEST_FUNCTION = 300, 60
# Boundaries of one flat command: its length is its list of options.
FLAT = {"simulation/crimson_simulation/commands/train.py"}


def sources(*rooms: str) -> list[Path]:
    """Every Python file of the rooms."""
    return sorted(path for room in rooms for path in (ROOT / room / f"crimson_{room}").rglob("*.py"))


@pytest.mark.parametrize("path", sources(*ROOMS), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    if str(path.relative_to(ROOT)) in FLAT:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


def test_one_version_everywhere():
    projects = [tomllib.loads((ROOT / room / "pyproject.toml").read_text())["project"] for room in ROOMS]
    versions = {project["version"] for project in projects}
    pins = {
        line.split("==")[1] for project in projects for line in project["dependencies"] if "crimson-" in line
    }
    assert len(versions) == 1
    assert pins == versions


def test_a_round_has_the_same_name_in_protocol_enclave_node_and_tests():
    rounds = {"advertise", "share", "submit", "sketch", "confirm", "unmask", "release"}
    # Endorse comes before any round and has a file of the same name everywhere, too.
    rounds |= {"endorse"}
    folders = (
        "protocol/crimson_protocol/wire/messages",
        "enclave/crimson_enclave/rounds",
        "node/crimson_node/rounds",
    )
    for folder in folders:
        assert rounds == {path.stem for path in (ROOT / folder).glob("[a-z]*.py")}
    assert {f"test_{name}" for name in rounds} <= {path.stem for path in (ROOT / "tests/rounds").glob("*.py")}


WITNESS = {"witness", "observer"}


def names_in(tree: ast.AST) -> set[str]:
    """Every name, attribute, argument and keyword of a module."""
    found = set()
    for node in ast.walk(tree):
        found |= {getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "arg", None)}
    return found


@pytest.mark.parametrize("path", sources("node", "enclave"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_setting_of_node_or_enclave_reaches_the_witness(path):
    """A witness is handed on, from argument to argument, by whoever starts the process; nothing makes one."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in WITNESS:
            handed = isinstance(node.value, ast.Name | ast.Attribute)
            name = getattr(node.value, "id", None) or getattr(node.value, "attr", "")
            assert handed and name.lstrip("_") in WITNESS, f"{ast.unparse(node.value)} is given as a witness"
    if names_in(tree) & WITNESS:
        assert not names_in(tree) & {"environ", "getenv", "argv"}, (
            "a file that hands a witness on reads a setting"
        )
        assert "commands" not in path.parts, "no command knows of a witness"


def test_faults_are_simulated_in_the_simulation_alone():
    for path in sources("protocol", "enclave", "node"):
        text = path.read_text()
        assert not [
            word for word in ("--attack", "--drop", "plan_drops", "crimson_simulation") if word in text
        ], path


# The enclave's accountant and sampler need scipy, and each in its own file (the import contracts).
NUMERIC = {"crimson_protocol.wire.table": set(), "crimson_enclave.session": {"scipy"}}


@pytest.mark.parametrize("package", NUMERIC)
def test_the_trusted_core_loads_no_framework(package):
    code = f"import sys, {package}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split()) - NUMERIC[package]
    assert not loaded & {
        "torch",
        "polars",
        "pydantic",
        "typer",
        "rich",
        "scipy",
        "pandas",
        "sklearn",
        "httpx",
        "yaml",
    }


def test_what_the_gateway_uses_loads_no_secret_code():
    used = ("wire.table", "phases", "log", "policy.update", "crypto.verify")
    modules = ", ".join(f"crimson_protocol.{name}" for name in used)
    code = f"import sys, {modules}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert not [name for name in loaded if name.startswith("crimson_protocol.secret")]
    assert "crimson_protocol.crypto.primitives" not in loaded
