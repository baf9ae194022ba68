"""A sandbox shows every link between a virtual environment and its interpreter, or nothing starts in it."""

import sys
from pathlib import Path

from crimson_enclave.isolation.bubblewrap import interpreter_paths


def test_every_link_on_the_way_to_the_interpreter_is_shown(tmp_path, monkeypatch):
    """As on Debian: .venv/bin/python -> python3 -> /usr/bin/python3 -> python3.11."""
    system, environment = tmp_path / "system", tmp_path / "environment"
    for folder in (system, environment):
        folder.mkdir()
    (system / "python3.11").write_bytes(b"")
    (system / "python3").symlink_to("python3.11")
    (environment / "python3").symlink_to(system / "python3")
    (environment / "python").symlink_to("python3")
    monkeypatch.setattr(sys, "executable", str(environment / "python"))
    shown = interpreter_paths()
    for link in (environment / "python", environment / "python3", system / "python3", system / "python3.11"):
        assert any(Path(link).is_relative_to(path) for path in shown), link
