"""How a gateway command ends: exit codes, the one JSON envelope, and errors that say what to do next."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer
from rich.console import Console
from typer.exceptions import TyperException

from crimson_gateway.failure import (
    BAD_INPUT,
    FAILED,
    INTEGRITY,
    INTERRUPTED,
    OK,
    REFUSED_BY_POLICY,
    ClientFault,
    Failure,
)
from crimson_gateway.server import PortTaken, TooFewFiles
from crimson_gateway.settings import SettingsFault
from crimson_gateway.tls import CertificateFault
from crimson_protocol.errors import CrimsonError, PeerFault, PolicyRefusal
from crimson_protocol.refusal import Refusal

ENVELOPE = "crimson/envelope/1"


def failure_of(error: BaseException) -> Failure | None:
    """The failure behind one of our own errors; None for anything else, which is a bug."""
    match error:
        case SettingsFault():
            return Failure(BAD_INPUT, "bad-setting", error.text, error.hint)
        case CertificateFault():
            return Failure(BAD_INPUT, "certificate", error.text, error.hint)
        case ClientFault():
            return error.failure
        case PortTaken():
            return Failure(
                BAD_INPUT, "port-taken", str(error), "stop the other process, or give another --port"
            )
        case TooFewFiles():
            hint = "raise it: LimitNOFILE in the unit, or ulimit -n"
            return Failure(BAD_INPUT, "too-few-files", str(error), hint)
        case (
            PolicyRefusal()
            | PeerFault(code=Refusal.EXPIRED | Refusal.POLICY_REJECTED | Refusal.POLICY_WENT_BACK)
        ):
            hint = "ask the governors for the policy that counts now, and compare root.json with theirs"
            return Failure(REFUSED_BY_POLICY, error.code.value, error.text, hint)
        case PeerFault(code=Refusal.BAD_SIGNATURE | Refusal.DIGEST_DIFFERS):
            hint = "the policy was edited after it was signed, or root.json is another federation's"
            return Failure(INTEGRITY, error.code.value, error.text, hint)
        case CrimsonError():
            return Failure(FAILED, error.code.value, error.text, "see docs/PROTOCOL.md, Refusals")
        case OSError():
            text = f"{error.filename or ''}: {error.strerror}"
            return Failure(BAD_INPUT, "file", text, "check the path and its permissions")
        case _:
            return None


def print_data(data: dict[str, Any], warnings: Sequence[str] = (), failure: Failure | None = None) -> None:
    """What a command found, on stdout as the envelope; with the failure that it ended in, if any."""
    _print_envelope(data, warnings, failure)


def print_failure(failure: Failure, *, as_json: bool) -> int:
    """The failure, on stdout as an envelope or on stderr as text; gives the exit code."""
    if as_json:
        _print_envelope(None, (), failure)
    else:
        console = Console(stderr=True, soft_wrap=True)
        # Another party may have had a hand in the text: it is never read as markup.
        console.print("error", style="bold red", end=" ")
        console.print(f"{failure.code}: {failure.message}", markup=False, highlight=False)
        console.print(f"  next: {failure.hint}", markup=False, highlight=False)
    return failure.exit_code


def _print_envelope(data: dict[str, Any] | None, warnings: Sequence[str], failure: Failure | None) -> None:
    error = None
    if failure is not None:
        doc = f"docs/errors.md#{failure.code}"
        error = {"code": failure.code, "message": failure.message, "hint": failure.hint, "doc": doc}
    envelope = {
        "schema": ENVELOPE,
        "ok": failure is None,
        "data": data,
        "warnings": list(warnings),
        "error": error,
    }
    json.dump(envelope, sys.stdout, indent=2)
    print(flush=True)


def guarded(work: Callable[[], int], *, as_json: bool, debug: bool = False) -> int:
    """The exit code of `work`, with our own errors shown and turned into theirs. Bugs stay tracebacks."""
    try:
        return work()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        failure = failure_of(error)
        if debug or failure is None:
            raise
        return print_failure(failure, as_json=as_json)


def run_app(app: typer.Typer, argv: list[str], name: str) -> int:
    """Run a typer application as one command of the launcher; bad usage gives exit code 4."""
    try:
        return int(app(argv, prog_name=name, standalone_mode=False) or OK)
    except TyperException as error:
        described = getattr(error, "format_message", None)
        text = str(described() if described else error)
        failure = Failure(BAD_INPUT, "usage", text, f"{name} --help lists the options, with examples")
        return print_failure(failure, as_json="--json" in argv)
