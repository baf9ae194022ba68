"""The measurement: one digest over everything that makes up the enclave. Reads files; called once at start.

It covers every file of protocol and enclave, the enclave's lock, every file that the locked
distributions installed, and the interpreter's version. A byte changed in any of them is another enclave.
"""

import hashlib
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import crimson_enclave
import crimson_protocol

_SKIPPED = {"__pycache__"}
_NAME = re.compile(r"^([A-Za-z0-9._-]+)==")


def measure() -> bytes:
    """SHA-256 over (name, SHA-256) of every measured file, in order of name, and the interpreter's version."""
    hasher = hashlib.sha256(f"python {sys.version}\n".encode())
    for name, path in sorted(_measured()):
        hasher.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return hasher.digest()


def lock_path() -> Path:
    """The enclave's lock: beside the package in a checkout, inside it in a wheel."""
    package = Path(crimson_enclave.__file__).parent
    inside = package / "requirements.lock"
    return inside if inside.exists() else package.parent / "requirements.lock"


def _measured() -> Iterator[tuple[str, Path]]:
    for package in (crimson_protocol, crimson_enclave):
        root = Path(str(package.__file__)).parent
        for path in root.rglob("*"):
            if path.is_file() and not _SKIPPED & set(path.parts):
                yield f"{package.__name__}/{path.relative_to(root).as_posix()}", path
    lock = lock_path()
    yield "requirements.lock", lock
    for line in lock.read_text().splitlines():
        if found := _NAME.match(line):
            yield from _installed(found.group(1))


def _installed(name: str) -> Iterator[tuple[str, Path]]:
    for file in metadata.files(name) or ():
        path = Path(str(file.locate()))
        # Byte code is written by the interpreter after installation and differs from machine to machine.
        if path.is_file() and not _SKIPPED & set(path.parts):
            yield f"{name}/{file.as_posix()}", path
