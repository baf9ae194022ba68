"""The launcher outside: opens the socket, starts the inner program in the sandbox, passes the descriptor in.

Nothing but paths is on the command line and nothing but a fixed table in the environment. Where bubblewrap
is missing the same program starts without it, and its evidence says so.
"""

import json
import os
import resource
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from crimson_enclave.host.failure import BAD_INPUT, FAILED, Failure
from crimson_enclave.host.home import Home, read_file
from crimson_enclave.host.settings import PATIENCE, Settings, code_folders
from crimson_enclave.isolation import bubblewrap
from crimson_enclave.isolation.process import ENVIRONMENT
from crimson_protocol.policy.bundle import MAX_BUNDLE, MAX_METADATA

PROGRAM = ("-m", "crimson_enclave.host.inside")
INNER_HOME = Path("/enclave")
# Byte code beside the sources is not measured, so none is read: there is none in a folder that is not there.
_FLAGS = ("-I", "-B", "-X", "utf8", "-X", "pycache_prefix=/nowhere")
_LONGEST_LINE = 1 << 16
_LONGEST_SOCKET_PATH = 107
_PAUSE = 0.25


@dataclass(frozen=True)
class Launch:
    """What to start.

    program: arguments of the interpreter inside; readable: folders that it needs beyond the enclave's own;
    descriptors: open files passed in. Only a caller in Python can set these three.
    """

    home: Path
    socket: Path | None = None
    sandbox: bool = True
    program: Sequence[str] = PROGRAM
    readable: Sequence[Path] = ()
    descriptors: Sequence[int] = ()


@dataclass
class RunningEnclave:
    """A started enclave; `told` is the line it said once it could answer."""

    process: "subprocess.Popen[bytes]" = field(repr=False)
    socket: Path
    told: dict[str, object]
    sandboxed: bool

    def wait(self) -> int:
        """Until it ends; its exit code."""
        return self.process.wait()

    def stop(self) -> None:
        """End it and remove its socket. Its state is whole at any moment."""
        self.process.kill()
        self.process.wait()
        self.socket.unlink(missing_ok=True)


def launch(wanted: Launch) -> RunningEnclave:
    """Start an enclave and wait until it can answer. Raises Failure.

    It ends with the thread that calls this: Linux ties a child to the thread that made it.
    """
    home = Home(wanted.home.resolve())
    _prepare(home)
    place = (wanted.socket or home.socket).absolute()
    listener = open_socket(place)
    try:
        bwrap = bubblewrap.find() if wanted.sandbox else None
        inner = INNER_HOME if bwrap else home.root
        settings = Settings(listener.fileno(), str(inner), os.getpid(), tuple(map(str, wanted.readable)))
        program = [sys.executable, *_FLAGS, *wanted.program]
        line = _sandboxed(bwrap, program, home, wanted.readable) if bwrap else program
        with _room_to_lock_memory():
            process = subprocess.Popen(  # noqa: S603
                line,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=dict(ENVIRONMENT),
                cwd="/",
                pass_fds=(listener.fileno(), *wanted.descriptors),
                start_new_session=bwrap is None,
            )
    except BaseException:
        listener.close()
        place.unlink(missing_ok=True)
        raise
    # From here on the inner process alone listens: when it ends, nobody does.
    listener.close()
    try:
        told = _first_words(process, settings.to_bytes())
    except BaseException:
        process.kill()
        process.wait()
        place.unlink(missing_ok=True)
        raise
    return RunningEnclave(process, place, told, bwrap is not None)


def open_socket(place: Path) -> socket.socket:
    """A listening Unix socket, 0600 in a folder 0700. Raises Failure where somebody answers on it."""
    if len(str(place).encode()) > _LONGEST_SOCKET_PATH:
        hint = "use --socket with a shorter path"
        raise Failure(BAD_INPUT, "socket-path-too-long", f"{place} is too long for a socket", hint)
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if place.exists() and not stat.S_ISSOCK(place.lstat().st_mode):
            raise Failure(BAD_INPUT, "socket-taken", f"{place} is there and is no socket")
        end = time.monotonic() + PATIENCE
        while _answers(place):
            if time.monotonic() >= end:
                hint = "stop it first, or use another --socket"
                raise Failure(BAD_INPUT, "socket-in-use", f"an enclave answers on {place} already", hint)
            time.sleep(_PAUSE)
        place.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        mask = os.umask(0o177)
        try:
            listener.bind(str(place))
        finally:
            os.umask(mask)
        listener.listen(8)
    except OSError as error:
        raise Failure(BAD_INPUT, "socket-unusable", f"{place}: {error.strerror}") from error
    return listener


def _answers(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(place))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _prepare(home: Home) -> None:
    """Folders, and the seal key on the first start."""
    # Read here too, for an error before anything is started.
    read_file(home.bundle, MAX_BUNDLE)
    read_file(home.trust_anchor, MAX_METADATA)
    read_file(home.evidence_root, 1 << 16, private=True)
    try:
        for folder in (home.state, home.seal_key.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        if not home.seal_key.exists():
            if any(home.state.iterdir()):
                text, hint = "state/ is there without keys/seal.key", "restore both from the same backup"
                raise Failure(BAD_INPUT, "seal-key-missing", text, hint)
            _write_key(home.seal_key, os.urandom(32))
    except OSError as error:
        raise Failure(BAD_INPUT, "home-unusable", f"{home.root}: {error.strerror}") from error


def _write_key(path: Path, key: bytes) -> None:
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, key)
        os.fsync(file)
    finally:
        os.close(file)
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sandboxed(bwrap: str, program: Sequence[str], home: Home, extra: Sequence[Path]) -> list[str]:
    system = set(bubblewrap.SYSTEM_FOLDERS)
    readable = {path: path for path in (*code_folders(), *extra) if path not in system and path.exists()}
    for path in (home.policy, home.trust_anchor, home.evidence_root, home.seal_key):
        readable[path] = INNER_HOME / path.relative_to(home.root)
    mounts = bubblewrap.Mounts(readable, {home.state: INNER_HOME / "state"})
    return bubblewrap.command(bwrap, program, mounts, ENVIRONMENT)


@contextmanager
def _room_to_lock_memory() -> Iterator[None]:
    """Raise the limit for the child where this user may, and put it back for the caller."""
    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, before)


def _first_words(process: "subprocess.Popen[bytes]", settings: bytes) -> dict[str, object]:
    """Hand in the settings and read the line that says ready, or why not."""
    if process.stdin is None or process.stdout is None:
        raise Failure(FAILED, "start-failed", "the enclave has no channel to its launcher")
    with suppress(BrokenPipeError):
        process.stdin.write(settings)
        process.stdin.close()
    line = process.stdout.readline(_LONGEST_LINE)
    try:
        told = json.loads(line)
    except ValueError:
        code = process.wait()
        hint = "where user namespaces are not allowed bubblewrap cannot work: allow them"
        text = f"the enclave ended before it was ready (exit code {code}); what it said is above"
        raise Failure(FAILED, "start-failed", text, hint) from None
    if not told.get("ready"):
        code = process.wait()
        raise Failure(code or FAILED, str(told["code"]), str(told["message"]), str(told["hint"]))
    return dict(told)
