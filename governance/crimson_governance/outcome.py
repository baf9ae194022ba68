"""How a command ends: exit codes, the one JSON envelope, and errors that say what to do next."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.console import Console

from crimson_protocol.errors import CrimsonError, PeerFault, PolicyRefusal
from crimson_protocol.refusal import Refusal

OK, FAILED, BAD_INPUT, REFUSED_BY_POLICY, INTEGRITY_FAILED, INTERRUPTED = 0, 1, 4, 5, 9, 130
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


class BadSource(CommandFailed):
    """A file of the policy's source cannot be read as what it should be."""

    exit_code = BAD_INPUT
    code = "bad-source"


class BadYaml(BadSource):
    """A file is no YAML, or uses what a policy's source may not."""

    code = "bad-yaml"


class BadInput(CommandFailed):
    """Another file or option cannot be used as it is. Raised with a finer code."""

    exit_code = BAD_INPUT


class Refused(CommandFailed):
    """A rule of the federation forbids this. Raised with a finer code."""

    exit_code = REFUSED_BY_POLICY


class Damaged(CommandFailed):
    """A signature or a digest does not hold. Raised with a finer code."""

    exit_code = INTEGRITY_FAILED


_BY_CODE: Mapping[Refusal, int] = {
    Refusal.POLICY_REJECTED: REFUSED_BY_POLICY,
    Refusal.POLICY_WENT_BACK: REFUSED_BY_POLICY,
    Refusal.EXPIRED: REFUSED_BY_POLICY,
}
_HINTS: Mapping[int, str] = {
    REFUSED_BY_POLICY: "docs/errors.md says why this is refused and who can change it",
    INTEGRITY_FAILED: "nothing was written: ask whoever sent the file for it again, and compare its digest by phone",
    FAILED: "see docs/PROTOCOL.md, Refusals",
}


def failure_of(error: BaseException) -> Failure | None:
    """The failure behind an error of protocol or governance; None for anything else, which is a bug."""
    match error:
        case CommandFailed():
            return error.failure
        case PolicyRefusal():
            hint = "change what the reason names, then: crimson policy lint"
            return Failure(REFUSED_BY_POLICY, error.code.value, error.text, hint)
        case PeerFault():
            exit_code = _BY_CODE.get(error.code, INTEGRITY_FAILED)
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


def print_data(data: Any, warnings: Sequence[str] = (), failure: Failure | None = None) -> None:
    """Data on stdout, as the envelope. `failure` stands beside data where a check found something."""
    json.dump(envelope(data, warnings, failure), sys.stdout, indent=2, ensure_ascii=False)
    print()


def print_failure(failure: Failure, *, as_json: bool) -> int:
    """The failure, on stdout as an envelope or on stderr as text; gives the exit code."""
    if as_json:
        print_data(None, failure=failure)
    else:
        console = Console(stderr=True, soft_wrap=True)
        # A file may have had a hand in the text: it is never read as markup.
        console.print("error", style="bold red", end=" ")
        console.print(f"{failure.code}: {failure.message}", markup=False, highlight=False)
        console.print(f"  next: {failure.hint}", markup=False, highlight=False)
    return failure.exit_code


def guarded(work: Callable[[], int], *, as_json: bool, debug: bool = False) -> int:
    """The exit code of `work`, with known errors shown and turned into theirs. Bugs stay tracebacks."""
    try:
        return work()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        failure = failure_of(error)
        if debug or failure is None:
            raise
        return print_failure(failure, as_json=as_json)
