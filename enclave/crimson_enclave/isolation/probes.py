"""Trying what must not work: each probe answers whether the attempt was refused.

They run in the process that was isolated, so that a report rests on what the kernel did and not on what it
was asked for.
"""

import ctypes
import errno
import os
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from crimson_enclave.isolation.kernel import MACHINE, system_call
from crimson_enclave.isolation.syscalls import NUMBERS

REFUSED = (errno.EPERM, errno.EACCES, errno.EROFS)
_PTRACE_ATTACH = 16
NOWHERE = 2**31 - 2
"""A process id that no Linux gives out."""


def refused(attempt: Callable[[], object], codes: Sequence[int] = REFUSED) -> bool:
    """Whether the attempt ends in one of these errors."""
    try:
        attempt()
    except OSError as error:
        return error.errno in codes
    return False


def no_process_outside(outside: int) -> bool:
    """Whether the process that started this one cannot be seen, nor any by its number in /proc."""
    hidden = refused(lambda: os.kill(outside, 0), (errno.ESRCH, errno.EPERM))
    return hidden and os.getppid() == 1 and not Path("/proc/1/stat").exists()


def only_own_loopback() -> bool:
    """Whether there is no interface but the loopback of a network namespace of its own."""
    try:
        return {name for _, name in socket.if_nameindex()} <= {"lo"}
    except OSError:
        return False


def only_named_folders(allowed: Sequence[str]) -> bool:
    """Whether the root folder shows nothing beyond `allowed`, and cannot be written to."""
    shown = {path.name for path in Path("/").iterdir()}
    return shown <= set(allowed) and refused(Path("/probe").mkdir)


def no_capabilities() -> bool:
    """Whether the process holds no capability, effective or permitted."""
    head, data = struct.pack("<Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    try:
        system_call(NUMBERS[MACHINE]["capget"], head, data)
    except (OSError, KeyError):
        return False
    words = struct.unpack("<6I", data.raw)
    return not any(words[at] for at in (0, 1, 3, 4))


def no_socket() -> bool:
    """Whether no socket of any family can be made, so nothing can be connected to."""
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_VSOCK)
    # One that could be made would be closed at once: its object is dropped.
    return all(refused(partial(socket.socket, family)) for family in families)


def no_file_outside(paths: Sequence[Path]) -> bool:
    """Whether none of these files and folders opens to read, and nothing can be made inside."""
    return all(_closed(path) for path in paths)


def _closed(path: Path) -> bool:
    absent = (*REFUSED, errno.ENOENT, errno.ENOTDIR)
    return refused(partial(os.open, path, os.O_RDONLY), absent) and not_written(path, absent)


def not_written(folder: Path, codes: Sequence[int] = REFUSED) -> bool:
    """Whether no file can be made in a folder."""
    return refused(partial(os.open, folder / "probe", os.O_WRONLY | os.O_CREAT), codes)


def no_program() -> bool:
    """Whether neither execve nor execveat goes as far as to look for the program."""
    numbers, nothing, only = NUMBERS[MACHINE], ctypes.c_void_p(0), (errno.EPERM,)
    return refused(partial(system_call, numbers["execve"], b"/nowhere", nothing, nothing), only) and refused(
        partial(system_call, numbers["execveat"], -1, b"/nowhere", nothing, nothing, 0), only
    )


def no_child() -> bool:
    """Whether no process can be made, by clone, clone3, fork or vfork."""
    numbers, only = NUMBERS[MACHINE], (errno.EPERM,)
    calls = [(numbers["clone"], (int(signal.SIGCHLD), 0, 0, 0, 0))]
    # vfork is left out: where it works, the child would go on in this stack.
    calls += [(numbers["fork"], (0, 0, 0, 0, 0))] if "fork" in numbers else []
    # With a size of zero a kernel that knows the call answers EINVAL, the filter ENOSYS.
    three = refused(partial(system_call, numbers["clone3"], ctypes.c_void_p(0), 0), (errno.ENOSYS,))
    return three and all(refused(partial(_child, *call), only) for call in calls)


def _child(number: int, arguments: Sequence[int]) -> None:
    child = system_call(number, *arguments)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def no_tracing() -> bool:
    """Whether no process can be traced, nor its memory read or written."""
    numbers, nothing = NUMBERS[MACHINE], ctypes.c_void_p(0)
    calls: tuple[Callable[[], object], ...] = (
        lambda: system_call(numbers["ptrace"], _PTRACE_ATTACH, NOWHERE, nothing, nothing),
        lambda: system_call(numbers["process_vm_readv"], NOWHERE, nothing, 0, nothing, 0, 0),
        lambda: system_call(numbers["process_vm_writev"], NOWHERE, nothing, 0, nothing, 0, 0),
    )
    return all(refused(call, (errno.EPERM,)) for call in calls)


def no_signal() -> bool:
    """Whether no signal can be sent to any process."""
    return refused(partial(os.kill, NOWHERE, 0), (errno.EPERM,))


def no_mount() -> bool:
    """Whether nothing can be mounted."""
    nothing = ctypes.c_void_p(0)
    return refused(
        lambda: system_call(NUMBERS[MACHINE]["mount"], nothing, nothing, nothing, 0, nothing), (errno.EPERM,)
    )
