"""A program that runs where an enclave runs and then tries to get out. Started by the launcher, like an enclave.

It isolates itself by the same call, and tries in its own ways, so that the evidence is held against them.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from crimson_enclave.host.settings import MAX_SETTINGS, Settings, code_folders
from crimson_enclave.isolation import Boundary, is_isolated, isolate
from crimson_enclave.measurement import measure


def connect(family: int, address: object) -> None:
    with socket.socket(family) as peer:
        peer.settimeout(2)
        peer.connect(address)


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def ptrace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(0, 0, 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")


def processes() -> None:
    found = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
    raise RuntimeError(f"saw {found}")


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    except Exception as error:
        return f"other: {error}"
    return "done"


def attempts(home: Path, port: int) -> dict[str, str]:
    return {
        "tcp": outcome(lambda: connect(socket.AF_INET, ("127.0.0.1", port))),
        "tcp outside": outcome(lambda: connect(socket.AF_INET, ("192.0.2.1", 443))),
        "tcp6": outcome(lambda: connect(socket.AF_INET6, ("::1", port))),
        "udp": outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
        "unix": outcome(lambda: connect(socket.AF_UNIX, "/run/nowhere")),
        "abstract": outcome(lambda: connect(socket.AF_UNIX, "\0crimson")),
        "netlink": outcome(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
        "pair": outcome(socket.socketpair),
        "passwd": outcome(lambda: open("/etc/passwd")),
        "root": outcome(lambda: list(Path("/root").iterdir())),
        "keys": outcome(lambda: open(home / "keys" / "seal.key")),
        "policy": outcome(lambda: open(home / "policy" / "policy.bundle")),
        "write code": outcome(lambda: open(Path(__file__).parent / "made", "w")),
        "write root": outcome(lambda: open("/made", "w")),
        "tmp": outcome(lambda: open("/tmp/made", "w")),
        "processes": outcome(processes),
        "kill": outcome(lambda: os.kill(1, 0)),
        "fork": outcome(fork),
        "exec": outcome(lambda: os.execv(sys.executable, [sys.executable, "-c", ""])),
        "spawn": outcome(lambda: subprocess.run([sys.executable, "-c", ""], check=False)),
        "posix spawn": outcome(lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})),
        "shell": outcome(lambda: os.system("true") and (_ for _ in ()).throw(OSError())),
        "ptrace": outcome(ptrace),
        "memory": outcome(lambda: open("/proc/self/mem", "rb")),
        "unshare": outcome(lambda: call("unshare", 0x10000000)),
        "chroot": outcome(lambda: os.chroot("/")),
        "core limit": outcome(lambda: call("setrlimit", 4, ctypes.byref((ctypes.c_ulong * 2)(1, 1)))),
    }


def call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def allowed(home: Path) -> dict[str, str]:
    """What must still work."""
    thread = threading.Thread(target=lambda: None)
    return {
        "state": outcome(lambda: (home / "state" / "made").write_bytes(b"x")),
        "state again": outcome((home / "state" / "made").unlink),
        "entropy": outcome(partial(os.urandom, 8)),
        "thread": outcome(thread.start),
        "sums": outcome(lambda: np.linalg.norm(np.ones((400, 400)) @ np.ones((400, 400)))),
        "import": outcome(partial(__import__, "decimal")),
        "measure": outcome(measure),
    }


def main() -> int:
    settings = Settings.from_bytes(sys.stdin.buffer.read(MAX_SETTINGS), MAX_SETTINGS)
    home = Path(settings.home)
    code = (*code_folders(), *map(Path, settings.readable))
    measures = isolate(Boundary(code, (home / "state",), settings.outside))
    told = {
        "ready": True,
        "isolated": is_isolated(measures),
        "measures": {measure.name: measure.enforced for measure in measures},
        "attempts": attempts(home, int(sys.argv[1])),
        "allowed": allowed(home),
        "environment": dict(os.environ),
    }
    print(json.dumps(told), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
