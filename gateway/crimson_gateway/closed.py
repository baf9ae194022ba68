"""What the gateway's process may never load: code that holds secrets, and the rooms that do.

Its environment has none of it but the protocol's own secret package, which lies beside what the gateway uses. A
gateway that was taken over could read those files; that it cannot import them is for mistakes, not for intruders.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

CLOSED = (
    "crimson_protocol.secret",
    "crimson_protocol.crypto.primitives",
    "crimson_enclave",
    "crimson_node",
    "torch",
)


class _Closed(MetaPathFinder):
    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuses a closed module; leaves any other to the finders that follow."""
        if any(name == closed or name.startswith(f"{closed}.") for closed in CLOSED):
            raise ImportError(f"{name} is closed to the gateway", name=name)
        return None


def close_imports() -> None:
    """From here on a closed module cannot be imported. RuntimeError where one is loaded already."""
    loaded = [name for name in CLOSED if name in sys.modules]
    if loaded:
        raise RuntimeError(f"the gateway's process has loaded {', '.join(loaded)}")
    sys.meta_path.insert(0, _Closed())
