"""Files that are whole or not there: temporary, fsync, rename, and fsync of the folder."""

import os
from pathlib import Path

from crimson_node.journal import sync_directory

FOLDER_MODE, FILE_MODE = 0o700, 0o600


def make_folder(path: Path) -> None:
    """The folder and its missing parents, open to their owner alone."""
    for folder in reversed((path, *path.parents)):
        # One by one: mkdir gives parents that it makes the user's default mode.
        if not folder.exists():
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)


def write_file(path: Path, data: bytes | memoryview) -> None:
    """Replace the file's content. After a kill at any moment it is the old or the new one."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)
