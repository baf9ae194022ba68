"""A gateway's own environment, made from its lock and wheels: nothing there that holds a secret or trains a model."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of a fresh environment with protocol and gateway, as an operator installs them."""
    folder = tmp_path_factory.mktemp("gateway-environment")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    there = folder / "venv" / "bin" / "python"
    here = [sys.executable, "-m", "pip"]
    build = [
        *here,
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder / "wheels"),
    ]
    subprocess.run([*build, str(ROOT / "protocol"), str(ROOT / "gateway")], check=True)
    install = [*here, "--python", str(there), "install", "--quiet"]
    subprocess.run([*install, "--require-hashes", "-r", str(ROOT / "gateway/requirements.lock")], check=True)
    subprocess.run([*install, "--no-deps", *map(str, (folder / "wheels").glob("*.whl"))], check=True)
    return there


def run(python: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["torch", "crimson_enclave", "crimson_node", "crimson_simulation"])
def test_what_a_gateway_has_no_business_with_is_not_installed(python, module):
    done = run(python, f"import {module}")
    assert done.returncode != 0 and "ModuleNotFoundError" in done.stderr


def test_the_whole_gateway_loads_without_a_secret(python):
    names = ["app", "running", "server", "driver.driver", "api.operators", "commands", "operating.federation"]
    code = (
        "import sys; "
        + "; ".join(f"import crimson_gateway.{name}" for name in names)
        + "; print(*sys.modules)"
    )
    loaded = run(python, code).stdout.split()
    assert "crimson_gateway.running" in loaded and "fastapi" in loaded
    assert not [
        name
        for name in loaded
        if name.startswith(("crimson_protocol.secret", "crimson_protocol.crypto.prim"))
    ]


@pytest.mark.parametrize("module", ["crimson_protocol.secret.keys", "crimson_protocol.crypto.primitives"])
def test_a_serving_gateway_cannot_import_the_protocols_secrets(python, module):
    assert run(python, f"import {module}").returncode == 0
    done = run(python, f"from crimson_gateway.closed import close_imports; close_imports(); import {module}")
    assert done.returncode != 0 and f"{module.rpartition('.')[0]}" in done.stderr
    assert "closed to the gateway" in done.stderr


def test_a_process_that_has_loaded_secrets_does_not_serve(python):
    code = "import crimson_protocol.secret.keys; from crimson_gateway.closed import close_imports; close_imports()"
    done = run(python, code)
    assert done.returncode != 0 and "RuntimeError" in done.stderr


def test_the_launcher_shows_the_gateway_alone(python, tmp_path):
    launcher = "import sys; from crimson_protocol.launcher import main; sys.exit(main({}))"
    shown = run(python, launcher.format([])).stdout
    assert "gateway" in shown and not any(name in shown for name in ("  node", "  enclave", "  train"))
    arguments = ["gateway", "init", "--home", str(tmp_path / "home"), "--json"]
    done = run(python, launcher.format(arguments))
    assert done.returncode == 0 and json.loads(done.stdout)["ok"] is True


def test_serving_closes_the_imports():
    source = (ROOT / "gateway/crimson_gateway/commands/serve.py").read_text()
    assert source.index("close_imports()") < source.index("asyncio.run(")
