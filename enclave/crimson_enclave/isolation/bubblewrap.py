"""The sandbox outside: arguments for bubblewrap, so that the process starts with nothing but what it reads.

Namespaces of its own for users, processes, network, mounts, host name, System V objects and cgroups; a root
folder in memory, made read-only; no /proc, no /tmp, two devices.
"""

import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOST_NAME = "enclave"
SANDBOX_USER = 65534
ROOT_FOLDERS = ("dev", "etc", "lib", "lib64", "usr")
"""Folders below the root of every sandbox; those on the way to the code come with them."""
SYSTEM_FOLDERS = tuple(map(Path, ("/usr/lib", "/usr/lib64", "/lib", "/lib64")))
"""Where the C library and what it loads lie."""
_LOADER_CACHE = Path("/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/urandom")


@dataclass(frozen=True)
class Mounts:
    """What the sandbox shows: host path, then path inside."""

    readable: Mapping[Path, Path] = field(default_factory=dict)
    writable: Mapping[Path, Path] = field(default_factory=dict)


def find() -> str | None:
    """The bubblewrap program of this machine."""
    return shutil.which("bwrap")


def interpreter_paths() -> tuple[Path, ...]:
    """What the running interpreter is made of: its prefixes, or the parts of one that lies in /usr."""
    prefixes = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_exec_prefix)}
    paths = {prefix for prefix in prefixes if prefix != Path("/usr")}
    paths |= {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= set(_chain(Path(sys.executable)))
    return tuple(sorted(_outermost(path for path in paths if path.exists())))


def _chain(path: Path) -> Iterator[Path]:
    """A path and every link on the way to what it stands for: each must be there for the next to be found."""
    yield path
    while path.is_symlink():
        path = path.parent.resolve() / path.readlink()
        yield path


def _outermost(paths: Iterable[Path]) -> list[Path]:
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(outer) for outer in kept):
            kept.append(path)
    return kept


def command(bwrap: str, program: Sequence[str], mounts: Mounts, environment: Mapping[str, str]) -> list[str]:
    """The whole command line. It holds paths and no secret; open descriptors are inherited."""
    line = [bwrap, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    line += ["--unshare-cgroup-try", "--uid", str(SANDBOX_USER), "--gid", str(SANDBOX_USER)]
    line += ["--hostname", HOST_NAME, "--new-session", "--die-with-parent", "--cap-drop", "ALL", "--clearenv"]
    for name, value in environment.items():
        line += ["--setenv", name, value]
    line += _system()
    for outside, inside in mounts.readable.items():
        line += ["--ro-bind", str(outside), str(inside)]
    for outside, inside in mounts.writable.items():
        line += ["--bind", str(outside), str(inside)]
    return [*line, "--remount-ro", "/", "--chdir", "/", "--", *program]


def _system() -> list[str]:
    line: list[str] = []
    for folder in SYSTEM_FOLDERS:
        if folder.is_symlink():
            line += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            line += ["--ro-bind", str(folder), str(folder)]
    if _LOADER_CACHE.exists():
        line += ["--ro-bind", str(_LOADER_CACHE), str(_LOADER_CACHE)]
    for device in _DEVICES:
        line += ["--dev-bind", device, device]
    return line
