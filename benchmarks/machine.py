"""What the figures were measured on: without it a ratio cannot be judged."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

FEATURES = ("aes", "vaes", "vpclmulqdq", "sha_ni", "avx2", "avx512f", "pmull", "asimd")
"""Instructions that decide which keystream is fast (x86 names, then ARM's)."""


def machine() -> str:
    """CPU, its features, load average over 1, 5 and 15 minutes, and the libraries that do the work."""
    model, flags = _cpu()
    known = " ".join(name for name in FEATURES if name in flags) or "unknown"
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "cryptography"))
    return (
        f"{model}, {os.cpu_count()} CPUs, features: {known}\n"
        f"load average {load}; Python {platform.python_version()}, {libraries}"
    )


def _cpu() -> tuple[str, frozenset[str]]:
    """Model name and feature flags, from /proc/cpuinfo where there is one (proc_cpuinfo(5))."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.machine(), frozenset()
    pairs = [line.split(":", 1) for line in path.read_text().splitlines() if ":" in line]
    first = {name.strip(): value.strip() for name, value in reversed(pairs)}
    flags = first.get("flags") or first.get("Features") or ""
    return first.get("model name", platform.machine()), frozenset(flags.split())
