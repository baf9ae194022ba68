"""Peak memory of a node that masks and of an enclave that sums, each weighed in a fresh process."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from benchmarks.enclave_process import RemoteEnclave
from benchmarks.federation import Nodes, numbers, parties, play
from benchmarks.goals import Row, at_most
from benchmarks.node_masking import masking_node

NODE_GOAL = 2.1
ENCLAVE_GOAL = 1.10
ENCLAVE_VECTORS_GOAL = 8.0

T = TypeVar("T")


def resident(field: str) -> int:
    """Bytes of a memory field of this process: VmRSS is what it holds, VmHWM its peak (proc_pid_status(5))."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) * 1024
