"""How a command ends: exit codes, the one JSON envelope, and errors that say what to do next."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console
from typer.exceptions import TyperException

from crimson_node.data.errors import DataFault
from crimson_protocol.errors import CrimsonError, PolicyRefusal
from crimson_simulation.inline import RoundLost
from crimson_simulation.options import BadOption

OK, FAILED, BAD_INPUT, REFUSED_BY_POLICY, DATA_CHECK_FAILED, INTERRUPTED = 0, 1, 4, 5, 8, 130
ENVELOPE = "crimson/envelope/1"


@dataclass(frozen=True)
class Failure:
    """An error as people and programs see it."""

    exit_code: int
    code: str
    message: str
    hint: str


def failure_of(error: BaseException) -> Failure | None:
    """The failure behind one of our own errors; None for anything else, which is a bug."""
    match error:
        case BadOption():
            return Failure(BAD_INPUT, "bad-option", error.message, error.hint)
        case DataFault():
            return Failure(DATA_CHECK_FAILED, "data-check-failed", error.text, error.hint)
        case PolicyRefusal():
            return Failure(
                REFUSED_BY_POLICY, error.code.value, error.text, "change the option that the reason names"
            )
        case RoundLost():
            hint = "with fewer drops or more sites a quorum remains; --dry-run prints how many drops are tolerated"
            return Failure(FAILED, error.code, str(error), hint)
        case CrimsonError():
            return Failure(FAILED, error.code.value, error.text, "see docs/PROTOCOL.md, Refusals")
        case OSError():
            return Failure(
                BAD_INPUT,
                "file",
                f"{error.filename or ''}: {error.strerror}",
                "check the path and its permissions",
            )
        case _:
            return None


def print_data(data: dict[str, Any]) -> None:
    """Success on stdout, as the envelope."""
    envelope = {
        "schema": ENVELOPE,
        "ok": True,
        "data": data,
        "warnings": data.get("warnings", []),
        "error": None,
    }
    json.dump(envelope, sys.stdout, indent=2)
    print()


def print_failure(failure: Failure, *, as_json: bool) -> int:
    """The failure, on stdout as an envelope or on stderr as text; gives the exit code."""
    if as_json:
        doc = f"docs/errors.md#{failure.code}"
        error = {"code": failure.code, "message": failure.message, "hint": failure.hint, "doc": doc}
        json.dump(
            {"schema": ENVELOPE, "ok": False, "data": None, "warnings": [], "error": error},
            sys.stdout,
            indent=2,
        )
        print()
    else:
        console = Console(stderr=True, soft_wrap=True)
        console.print(f"[bold red]error[/] [bold]{failure.code}[/]: {failure.message}", highlight=False)
        console.print(f"  next: {failure.hint}", highlight=False)
    return failure.exit_code


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


def run_app(app: typer.Typer, argv: list[str], name: str, defaults: dict[str, Any] | None = None) -> int:
    """Run a typer application as one command of the launcher; bad usage gives exit code 4.

    `defaults` stand in for the options' own defaults, by parameter name.
    """
    try:
        return int(app(argv, prog_name=name, standalone_mode=False, default_map=defaults) or OK)
    except TyperException as error:
        hint = f"{name} --help lists the options, with examples"
        return print_failure(Failure(BAD_INPUT, "usage", _usage(error), hint), as_json="--json" in argv)


def _usage(error: TyperException) -> str:
    """The error with the option's name, where the library knows it."""
    described = getattr(error, "format_message", None)
    return str(described() if described else error)
