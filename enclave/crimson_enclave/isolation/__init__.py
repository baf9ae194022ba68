"""Isolation: what keeps an enclave process apart, each measure applied, then tried, then reported.

`isolate` is the one entry; `bubblewrap` builds the sandbox that the process is started in.
"""

from crimson_enclave.isolation.boundary import REQUIRED, Boundary, is_isolated, isolate

__all__ = ["REQUIRED", "Boundary", "is_isolated", "isolate"]
