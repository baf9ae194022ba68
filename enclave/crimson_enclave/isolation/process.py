"""What a process can ask for itself: no core dumps, no readable memory, locked pages, an end with its parent."""

import os
import resource
import signal
from collections.abc import Mapping

from crimson_enclave.isolation.kernel import mlockall, prctl

ENVIRONMENT: Mapping[str, str] = {
    # Above this size memory goes back to the system at once, so vectors never linger in a heap.
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "LANG": "C.UTF-8",
    # One thread: numpy's linear algebra is not used, and its pool would be started at import.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""The whole environment of an enclave; nothing of it is read by Crimson."""
# What a shell or the sandbox sets for every process it starts.
_HARMLESS = {"PWD", "LC_CTYPE"}

_SET_PARENT_DEATH, _GET_PARENT_DEATH = 1, 2
_GET_DUMPABLE, _SET_DUMPABLE = 3, 4
_GET_NO_NEW_PRIVS = 39
_SET_MEMORY_DENY_WRITE_EXECUTE, _GET_MEMORY_DENY_WRITE_EXECUTE = 65, 66
_CURRENT, _FUTURE, _ON_FAULT = 1, 2, 4


def environment_is_cleared() -> bool:
    """Whether the environment holds nothing but the fixed table's entries."""
    return all(ENVIRONMENT.get(name, value) == value for name, value in os.environ.items()) and (
        set(os.environ) <= set(ENVIRONMENT) | _HARMLESS
    )


def forbid_dumps() -> tuple[bool, bool]:
    """No core file, and memory closed to tracing: whether each flag now holds.

    Inside a user namespace the second does not bind its owner, the user who started the enclave: that user, like
    root, reads its memory all the same. An enclave has a user of its own for that reason.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl(_SET_DUMPABLE, 0)
    return prctl(_GET_DUMPABLE) == 0, resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)


def end_with_parent() -> bool:
    """Die when the process that started this one dies."""
    try:
        prctl(_SET_PARENT_DEATH, signal.SIGKILL)
    except OSError:
        return False
    return os.getppid() != 0


def has_no_new_privileges() -> bool:
    """Whether no program that this process could ever start gains rights."""
    return prctl(_GET_NO_NEW_PRIVS) == 1


def lock_memory() -> bool:
    """Keep every page out of swap, now and later; only where the limit leaves room for all of them."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY:
        # A lower limit would let later allocations fail in the middle of a round.
        return False
    try:
        mlockall(_CURRENT | _FUTURE | _ON_FAULT)
    except OSError:
        return False
    return True


def forbid_writable_code() -> bool:
    """No page is ever writable and executable (Linux 6.3 and later)."""
    try:
        prctl(_SET_MEMORY_DENY_WRITE_EXECUTE, 1)
        return prctl(_GET_MEMORY_DENY_WRITE_EXECUTE) == 1
    except OSError:
        return False
