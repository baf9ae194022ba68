"""Robust aggregation: what is made of bucket means of which a few may be bad. Pure functions of float64 arrays.

`combine` is the one entry; `bounds` comes before it, `kept_sum` is the exact integer form that noise is added to.
"""

from crimson_enclave.robust.rules import combine
from crimson_enclave.robust.tolerance import most_tolerated, refuse_beyond

__all__ = ["combine", "most_tolerated", "refuse_beyond"]
