"""Failures of commands: an exit code, a stable code, what happened, and what to do next."""

from dataclasses import dataclass

OK, FAILED, CONNECTION, TIMED_OUT, BAD_INPUT, REFUSED_BY_POLICY, INTEGRITY = 0, 1, 2, 3, 4, 5, 9
INTERRUPTED = 130


@dataclass(frozen=True)
class Failure:
    """An error as people and programs see it."""

    exit_code: int
    code: str
    message: str
    hint: str


class ClientFault(Exception):
    """A command that asks a gateway cannot go on."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
