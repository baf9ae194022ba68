"""How a command ends: exit codes, the one JSON envelope, and errors that say what to do next."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.console import Console

from crimson_node.data.errors import DataFault
from crimson_protocol.errors import CallerFault, CrimsonError, PeerFault, PolicyRefusal
from crimson_protocol.refusal import Refusal

OK, FAILED, CONNECTION, TIMED_OUT, BAD_INPUT, REFUSED_BY_POLICY = 0, 1, 2, 3, 4, 5
ATTESTATION_FAILED, BUDGET_EXHAUSTED, DATA_CHECK_FAILED, INTEGRITY_FAILED, UPDATE_NEEDED = 6, 7, 8, 9, 10
INTERRUPTED = 130
ENVELOPE = "crimson/envelope/1"


@dataclass(frozen=True)
class Failure:
    """An error as people and programs see it."""

    exit_code: int
    code: str
    message: str
    hint: str


class CommandFailed(Exception):
    """An error that knows its exit code and what to do next. Subclasses set `exit_code` and `code`."""

    exit_code: ClassVar[int] = FAILED
    code: str = "failed"

    def __init__(self, message: str, hint: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint
        self.code = code or self.code

    @property
    def failure(self) -> Failure:
        """What is shown of it."""
        return Failure(self.exit_code, self.code, self.message, self.hint)


class BadConfiguration(CommandFailed):
    """A setting, a key or a folder cannot be used as it is."""

    exit_code = BAD_INPUT
    code = "bad-configuration"


_BY_CODE: Mapping[Refusal, int] = {
    Refusal.POLICY_REJECTED: REFUSED_BY_POLICY,
    Refusal.POLICY_WENT_BACK: REFUSED_BY_POLICY,
    Refusal.EXPIRED: REFUSED_BY_POLICY,
    Refusal.UNKNOWN_NODE: REFUSED_BY_POLICY,
    Refusal.EVIDENCE_REJECTED: ATTESTATION_FAILED,
    Refusal.SECOND_INSTANCE: ATTESTATION_FAILED,
}
_HINTS: Mapping[int, str] = {
    REFUSED_BY_POLICY: "ask the federation's governors which policy counts; docs/PROTOCOL.md, Refusals",
    ATTESTATION_FAILED: "nothing was sent: tell the governors which enclave this gateway serves",
    INTEGRITY_FAILED: "nothing more was sent: keep the journal and tell the governors",
    FAILED: "see docs/PROTOCOL.md, Refusals",
}


def failure_of(error: BaseException) -> Failure | None:
    """The failure behind an error of protocol or node; None for anything else, which is a bug."""
    match error:
        case CommandFailed():
            return error.failure
        case DataFault():
            return Failure(DATA_CHECK_FAILED, "data-check-failed", error.text, error.hint)
        case PolicyRefusal():
            return Failure(
                REFUSED_BY_POLICY, error.code.value, error.text, "change the option that the reason names"
            )
        case PeerFault():
            exit_code = _BY_CODE.get(error.code, INTEGRITY_FAILED)
            return Failure(exit_code, error.code.value, error.text, _HINTS[exit_code])
        case CallerFault():
            # A damaged journal is the one fault of our own that must not be worked around.
            exit_code = INTEGRITY_FAILED if error.code is Refusal.LOG_WENT_BACK else FAILED
            return Failure(exit_code, error.code.value, error.text, _HINTS[exit_code])
        case CrimsonError():
            return Failure(FAILED, error.code.value, error.text, _HINTS[FAILED])
        case OSError():
            hint = "check the path, its permissions and the free space"
            return Failure(BAD_INPUT, "file", f"{error.filename or ''}: {error.strerror}", hint)
        case _:
            return None


def envelope(
    data: Any, warnings: Sequence[str] = (), failure: Failure | None = None, *, ok: bool | None = None
) -> dict[str, Any]:
    """The one JSON shape of every command's answer."""
    error = None
    if failure is not None:
        doc = f"docs/errors.md#{failure.code}"
        error = {"code": failure.code, "message": failure.message, "hint": failure.hint, "doc": doc}
    return {
        "schema": ENVELOPE,
        "ok": failure is None if ok is None else ok,
        "data": data,
        "warnings": list(warnings),
        "error": error,
    }


def print_data(
    data: Any, warnings: Sequence[str] = (), failure: Failure | None = None, *, ok: bool | None = None
) -> None:
    """Data on stdout, as the envelope; with the failure where something was reached all the same."""
    json.dump(envelope(data, warnings, failure, ok=ok), sys.stdout, indent=2)
    print()


def print_failure(failure: Failure, *, as_json: bool) -> int:
    """The failure, on stdout as an envelope or on stderr as text; gives the exit code."""
    if as_json:
        json.dump(envelope(None, failure=failure), sys.stdout, indent=2)
        print()
    else:
        console = Console(stderr=True, soft_wrap=True)
        # A peer may have had a hand in the text: it is never read as markup.
        console.print("error", style="bold red", end=" ")
        console.print(f"{failure.code}: {failure.message}", markup=False, highlight=False)
        console.print(f"  next: {failure.hint}", markup=False, highlight=False)
    return failure.exit_code


def guarded(
    work: Callable[[], int],
    *,
    as_json: bool,
    debug: bool = False,
    known: Callable[[BaseException], Failure | None] = failure_of,
) -> int:
    """The exit code of `work`, with known errors shown and turned into theirs. Bugs stay tracebacks."""
    try:
        return work()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        failure = known(error)
        if debug or failure is None:
            raise
        return print_failure(failure, as_json=as_json)
