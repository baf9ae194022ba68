"""CPU time of a subject against its physical floor, measured side by side.

Absolute times depend on the machine and on what else runs there; the ratio of the least times of one run
does so far less, because floor and subject take turns and suffer the same disturbances.
"""

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PIECE = 1 << 18
"""Bytes expanded at a time: the fastest size for AES-256-CTR, with its output still in the cache."""


@dataclass(frozen=True)
class Against:
    """Least CPU seconds of floor and subject over the repeats."""

    floor: float
    subject: float

    @property
    def ratio(self) -> float:
        return self.subject / self.floor


def cpu_seconds(step: Callable[[], object]) -> float:
    """CPU seconds of one call, over all threads of this process; collection of garbage is left out."""
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        step()
        return time.process_time() - start
    finally:
        gc.enable()


def against(
    floor: Callable[[], object],
    subject: Callable[[], object],
    repeats: int,
    before: Callable[[], object] = lambda: None,
) -> Against:
    """Floor and subject in turns, after one turn that does not count. `before` restores what a subject changes."""
    floors, subjects = [], []
    for _ in range(repeats + 1):
        floors.append(cpu_seconds(floor))
        before()
        subjects.append(cpu_seconds(subject))
    return Against(min(floors[1:]), min(subjects[1:]))


def keystreams(count: int, length: int) -> Callable[[], None]:
    """The floor of masking: `count` AES-256-CTR keystreams of `length` bytes, expanded and thrown away.

    No code of this project runs in it: fresh contexts, one reused buffer of zeros, one reused output.
    """
    zeros, output = memoryview(bytes(PIECE)), bytearray(PIECE)
    keys = [os.urandom(32) for _ in range(min(count, 64))]

    def expand() -> None:
        for index in range(count):
            cipher = Cipher(algorithms.AES(keys[index % len(keys)]), modes.CTR(bytes(16)))
            update = cipher.encryptor().update_into
            for start in range(0, length, PIECE):
                update(zeros[: min(PIECE, length - start)], output)

    return expand
