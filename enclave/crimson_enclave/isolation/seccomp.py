"""The system call filter: a classic BPF program that refuses whatever is not on a short list.

A call of another architecture ends the process. `clone` may only make threads, `clone3` does not exist
(its flags lie in memory, where a filter cannot look), `ioctl` may only switch a socket's blocking mode, and no
memory becomes executable any more.
"""

import ctypes
import errno
import struct
from collections.abc import Sequence

from crimson_enclave.isolation.kernel import MACHINE, prctl, system_call
from crimson_enclave.isolation.syscalls import AUDIT_ARCH, NUMBERS, allowed

PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _JUMP_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
# Offsets in struct seccomp_data; the low half of a 64-bit argument comes first on both architectures.
_NUMBER, _ARCHITECTURE, _ARGUMENT_0, _ARGUMENT_1, _ARGUMENT_2 = 0, 4, 16, 24, 32
_PROT_EXEC = 4
_CLONE_THREAD = 0x00010000
_FIONBIO, _FIOCLEX = 0x5421, 0x5451

Instruction = tuple[int, int, int, int]
"""Operation, jump if true, jump if false, constant."""


def program(machine: str = MACHINE) -> list[Instruction]:
    """The filter for an architecture; KeyError for one that has no table."""
    numbers = NUMBERS[machine]
    refuse, ok = (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)
    lines: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_EQUAL, 0, 1, numbers["clone3"]),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        (_JUMP_EQUAL, 0, 4, numbers["clone"]),
        (_LOAD, 0, 0, _ARGUMENT_0),
        (_JUMP_SET, 0, 1, _CLONE_THREAD),
        ok,
        refuse,
        (_JUMP_EQUAL, 0, 5, numbers["ioctl"]),
        (_LOAD, 0, 0, _ARGUMENT_1),
        (_JUMP_EQUAL, 1, 0, _FIONBIO),
        (_JUMP_EQUAL, 0, 1, _FIOCLEX),
        ok,
        refuse,
    ]
    for name in ("mmap", "mprotect"):
        lines += [
            (_JUMP_EQUAL, 0, 4, numbers[name]),
            (_LOAD, 0, 0, _ARGUMENT_2),
            (_JUMP_SET, 0, 1, _PROT_EXEC),
            refuse,
            ok,
        ]
    for number in allowed(machine):
        lines += [(_JUMP_EQUAL, 0, 1, number), ok]
    return [*lines, refuse]


def assemble(lines: Sequence[Instruction]) -> bytes:
    """The program as the kernel reads it."""
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def apply() -> None:
    """Put the filter on every thread of this process, for ever. OSError or KeyError where it cannot be."""
    code = assemble(program())
    buffer = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    holder = ctypes.create_string_buffer(head, len(head))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    number = NUMBERS[MACHINE]["seccomp"]
    system_call(number, _SET_MODE_FILTER, _ALL_THREADS, ctypes.c_void_p(ctypes.addressof(holder)))
