"""Memory of a running process as the kernel counts it (Linux; proc_pid_status(5), proc_pid_clear_refs(5))."""

import ctypes
import gc
from pathlib import Path

M_MMAP_THRESHOLD = -3


def resident(field: str) -> int:
    """Bytes of a field of this process's status: VmRSS is what it holds, VmHWM the most it ever held."""
    return resident_of("self", field)


def resident_of(pid: int | str, field: str) -> int:
    """The same of another process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) * 1024


def give_back_at_once() -> None:
    """Let every block of 1 MiB or more be a mapping of its own, given back when it is freed (mallopt(3)).

    Otherwise what a freed vector leaves behind depends on which small objects happen to lie above it.
    """
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 20)


def forget_peak() -> int:
    """Give freed memory back to the system and start VmHWM anew; bytes still held."""
    gc.collect()
    # Freed memory that the allocator keeps would hide as much of what is allocated next.
    ctypes.CDLL(None).malloc_trim(0)
    forget_peak_of("self")
    return resident("VmRSS")


def forget_peak_of(pid: int | str) -> None:
    """Start VmHWM of a process anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
