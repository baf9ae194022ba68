"""The one folder of a run that an engine may empty: it carries a mark, and one run at a time holds it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crimson_node.durable import make_folder
from crimson_simulation.options import BadOption

NAME, MARK = "run", ".crimson-run"


@contextmanager
def run_folder(out: Path) -> Iterator[Path]:
    """`out/run`, empty but for its mark, and held until the end. Whatever else lies in `out` is left alone.

    Raises BadOption where another run holds it, or where it was not made by a run.
    """
    folder = out.resolve() / NAME
    mark = folder / MARK
    if folder.exists() and not mark.exists():
        raise BadOption(f"{folder} was not made by an earlier run", "give another --out, or move it away")
    make_folder(folder)
    descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadOption(f"another run is using {folder}", "wait for it, or give another --out") from None
        for path in folder.iterdir():
            if path != mark:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield folder
    finally:
        os.close(descriptor)
