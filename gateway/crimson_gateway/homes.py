"""Where a gateway lives unless it is said otherwise."""

import os
from pathlib import Path


def home_folder(given: Path | None) -> Path:
    """`--home`, else $CRIMSON_HOME/gateway, else the user's state folder."""
    if given is not None:
        return given
    root = os.environ.get("CRIMSON_HOME")
    if root:
        return Path(root) / "gateway"
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "crimson" / "gateway"
