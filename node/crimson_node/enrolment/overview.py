"""What `crimson node status` says of joining, keys and leaving. Reads, asks at most one question, changes nothing."""

from collections.abc import Callable
from typing import Any

from crimson_node.enrolment.admission import refuse_other_node
from crimson_node.enrolment.joining_home import JoiningHome
from crimson_node.enrolment.key_files import words_of
from crimson_node.enrolment.patience import Once
from crimson_node.enrolment.rotation import NextKeys
from crimson_node.enrolment.standing import EnrolmentFiles, Standing
from crimson_node.home import NodeKeys
from crimson_node.outcome import CommandFailed, failure_of
from crimson_node.transport.gateway import connect
from crimson_protocol.enrolment import EnrolmentState
from crimson_protocol.errors import CrimsonError


def overview(files: EnrolmentFiles, clock: Callable[[], int]) -> tuple[dict[str, Any], list[str]]:
    """Standing, the gateway's word for a request that no policy answered yet, and fingerprints; and warnings."""
    standing, warnings = files.standing(), list[str]()
    keys = _keys(files, warnings) if files.keys.exists() else None
    state = None
    if standing is Standing.REQUESTED:
        state = _asked(files, clock, warnings)
    following = NextKeys(files).read() if files.keys.exists() else None
    facts = {
        "standing": standing.value,
        "state": state.state if state else None,
        "approvals": state.approvals if state else None,
        "needed": state.needed if state else None,
        "reason": state.reason if state else None,
        "fingerprint": list(words_of(keys)) if keys else None,
        "next_fingerprint": list(words_of(following)) if following else None,
    }
    return facts, warnings


def _keys(files: EnrolmentFiles, warnings: list[str]) -> NodeKeys | None:
    try:
        return files.home.keys()
    except CommandFailed as error:
        warnings.append(f"{error.code}: {error.message}")
        return None


def _asked(files: EnrolmentFiles, clock: Callable[[], int], warnings: list[str]) -> EnrolmentState | None:
    """The gateway's answer; a warning where it gave none."""
    try:
        key = JoiningHome(files).invitation_key()
        gateway = connect(files.home.settings(), key, Once(), clock)
        try:
            state = gateway.enrolment()
            refuse_other_node(state, files.home.settings().node)
            return state
        finally:
            gateway.close()
    except (CommandFailed, CrimsonError) as error:
        failure = failure_of(error)
        warnings.append(f"the gateway was not heard: {failure.message if failure else error}")
        return None
