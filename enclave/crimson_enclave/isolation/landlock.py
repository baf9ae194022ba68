"""Landlock: after this the process opens files below named folders only, and binds or connects no TCP socket."""

import ctypes
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crimson_enclave.isolation.kernel import MACHINE, prctl, system_call
from crimson_enclave.isolation.seccomp import PR_SET_NO_NEW_PRIVS
from crimson_enclave.isolation.syscalls import NUMBERS

_VERSION_QUESTION, _PATH_BENEATH = 1, 1
_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG = 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8
_TRUNCATE = 1 << 14
READ = _READ_FILE | _READ_DIR
CHANGE = READ | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
# Rights that each version of the interface knows: execution to symbolic links, then one more at a time.
_FILES_1, _REFER, _IOCTL = (1 << 13) - 1, 1 << 13, 1 << 15
_BIND_AND_CONNECT, _ABSTRACT_SOCKETS_AND_SIGNALS = 0b11, 0b11


@dataclass(frozen=True)
class Applied:
    """What this kernel's version enforces."""

    files: bool = False
    network: bool = False
    scopes: bool = False


def version() -> int:
    """The kernel's version of the interface; 0 where there is none."""
    try:
        return system_call(NUMBERS[MACHINE]["landlock_create_ruleset"], ctypes.c_void_p(0), 0, 1)
    except (OSError, KeyError):
        return 0


def apply(readable: Sequence[Path], changeable: Sequence[Path]) -> Applied:
    """Forbid every file but those below the given folders: to read, and to read, write, make and remove.

    A path that does not exist is left out. Nothing is forbidden where the kernel does not know Landlock.
    """
    known = version()
    if known == 0:
        return Applied()
    files = _FILES_1 | (_REFER if known >= 2 else 0) | (_TRUNCATE if known >= 3 else 0)
    files |= _IOCTL if known >= 5 else 0
    network = _BIND_AND_CONNECT if known >= 4 else 0
    scopes = _ABSTRACT_SOCKETS_AND_SIGNALS if known >= 6 else 0
    head = struct.pack("<QQQ", files, network, scopes)[: 8 * (1 + (known >= 4) + (known >= 6))]
    numbers = NUMBERS[MACHINE]
    ruleset = system_call(numbers["landlock_create_ruleset"], head, len(head), 0)
    try:
        for paths, rights in ((readable, READ), (changeable, CHANGE)):
            for path in paths:
                _allow(ruleset, path, rights & files)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        system_call(numbers["landlock_restrict_self"], ruleset, 0)
    finally:
        os.close(ruleset)
    return Applied(True, known >= 4, known >= 6)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not path.is_dir():
            rights &= ~(_READ_DIR | _REMOVE_FILE | _MAKE_REG)
        rule = struct.pack("<Qi", rights, place)
        system_call(NUMBERS[MACHINE]["landlock_add_rule"], ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(place)
