"""Which of a gateway's answers are refusals by a rule, and which of those end a request for good."""

from crimson_node.enrolment.errors import EnrolmentRefused
from crimson_node.transport.errors import AuthenticationFailed, Problem

FOR_GOOD = (404, 409, 410, 422)
"""Statuses of a request that will never be answered otherwise."""
FORBIDDEN = ("invitation-expired", "invitation-revoked", "join-not-permitted", "node-revoked")
"""Codes that forbid for good. Any other failed signature may be a proxy's doing, and takes nothing back."""
HELD = "node-suspended"


def is_refusal(error: Problem | AuthenticationFailed) -> bool:
    """Whether a rule stands behind the answer, and not the network or a clock."""
    return error.code in (*FORBIDDEN, HELD) or (isinstance(error, Problem) and error.status in FOR_GOOD)


def is_final(error: Problem | AuthenticationFailed) -> bool:
    """Whether asking again can never help."""
    return is_refusal(error) and error.code != HELD


def as_refusal(error: Problem | AuthenticationFailed) -> EnrolmentRefused:
    """The gateway's refusal as one of policy, under its own code."""
    return EnrolmentRefused(error.message, error.hint, error.code)
