"""Where randomness comes from: always an argument, never a global.

The shells hand in the operating system's generator; tests hand in a counter or a recorded stream.
"""

from collections.abc import Callable

Entropy = Callable[[int], bytes]
"""`entropy(n)` gives exactly n fresh, uniform bytes. Used for keys, seeds and polynomial coefficients."""

Fill = Callable[[memoryview], None]
"""`fill(buffer)` overwrites a writable byte buffer with uniform bytes: bulk randomness without a copy."""
