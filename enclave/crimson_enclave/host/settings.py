"""What the launcher tells the program inside, and what both know of it: the launcher loads no more than this."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import crimson_enclave
import crimson_protocol
from crimson_enclave.isolation.bubblewrap import SYSTEM_FOLDERS, interpreter_paths
from crimson_enclave.measurement import lock_path
from crimson_protocol.wire.records import Count, Items, Record, Text, UInt

MAX_SETTINGS = 1 << 16
PATIENCE = 3.0
"""Seconds that an enclave which was just killed may take to be gone."""


@dataclass(frozen=True)
class Settings(Record):
    """What the launcher tells: descriptor of the listening socket, home as seen inside, its own process id,
    and folders of code beyond the enclave's own."""

    listener: Annotated[int, UInt(1 << 16)]
    home: Annotated[str, Text(4096)]
    outside: Count
    readable: Annotated[tuple[str, ...], Items(Text(4096), 64)]


def code_folders() -> tuple[Path, ...]:
    """Everything that an enclave's code is loaded and measured from."""
    packages = (Path(str(package.__file__)).parent for package in (crimson_protocol, crimson_enclave))
    return (*interpreter_paths(), *packages, lock_path(), *SYSTEM_FOLDERS)
