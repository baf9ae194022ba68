"""The few kernel interfaces that Python has no name for, through the C library."""

import ctypes
import os
import platform
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long

MACHINE = platform.machine()


def system_call(number: int, *arguments: Any) -> int:
    """A raw system call's result; OSError where the kernel answers with an error."""
    typed = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = int(_LIBC.syscall(ctypes.c_long(number), *typed))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def prctl(option: int, *arguments: int) -> int:
    """prctl(2); OSError where the kernel answers with an error."""
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    result = int(_LIBC.prctl(ctypes.c_int(option), *padded))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def mlockall(flags: int) -> None:
    """mlockall(2); OSError where the limit does not allow it."""
    if _LIBC.mlockall(ctypes.c_int(flags)) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
