"""Why an enclave does not start or does not go on, for people: what happened, and what to do."""

from dataclasses import dataclass

from crimson_protocol.errors import CallerFault, CrimsonError, PeerFault, PolicyRefusal
from crimson_protocol.refusal import Refusal

FAILED, UNREACHABLE, TIMED_OUT, BAD_INPUT, BY_POLICY, INTEGRITY = 1, 2, 3, 4, 5, 9
"""Exit codes."""

_HINTS = {
    Refusal.EXPIRED: "ask the governors for a policy that is still valid, or correct this machine's clock",
    Refusal.BAD_SIGNATURE: "the file was edited after it was signed, or root.json is of another federation",
    Refusal.DIGEST_DIFFERS: "a file of policy/ was edited, or stems from another version: copy the whole folder again",
    Refusal.POLICY_REJECTED: "compare root.json and policy/ with what the governors published",
    Refusal.POLICY_WENT_BACK: "copy the newest policy repository of the governors into policy/",
    Refusal.WRONG_CONTEXT: "every federation has a home folder of its own; use --home",
    Refusal.UNSUPPORTED: "ask the governors for a policy without it, or install a newer enclave",
}


@dataclass
class Failure(Exception):
    """A clear end: exit code, stable code, text and hint. Holds no secret."""

    exit_code: int
    code: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.text} [{self.code}]"


def failure_of(error: CrimsonError) -> Failure:
    """The same error, as a process ends with it."""
    match error:
        case PolicyRefusal():
            exit_code = BY_POLICY
        case PeerFault(code=Refusal.EXPIRED | Refusal.POLICY_WENT_BACK | Refusal.POLICY_REJECTED):
            exit_code = BY_POLICY
        case PeerFault(code=Refusal.BAD_SIGNATURE | Refusal.DIGEST_DIFFERS):
            exit_code = INTEGRITY
        case PeerFault() | CallerFault():
            exit_code = BAD_INPUT
        case _:
            exit_code = INTEGRITY
    hint = _HINTS.get(error.code, "")
    if exit_code == INTEGRITY and not hint:
        hint = "restore state/ and keys/seal.key together from the same moment; nodes refuse an older state"
    return Failure(exit_code, error.code.value, error.text, hint)
