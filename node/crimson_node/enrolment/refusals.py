"""Which of a gateway's refusals end a request for good, and how they are told."""

from crimson_node.enrolment.errors import EnrolmentRefused
from crimson_node.transport.errors import AuthenticationFailed, Problem

FOR_GOOD = (404, 409, 410)
"""Statuses of a request that will never be answered otherwise."""
OF_INVITATIONS = "invitation-"
"""How codes begin that speak of the invitation itself. Any other failed signature may be a proxy's doing."""


def is_final(error: Problem | AuthenticationFailed) -> bool:
    """Whether asking again can never help."""
    if error.code.startswith(OF_INVITATIONS):
        return True
    return isinstance(error, Problem) and error.status in FOR_GOOD


def as_refusal(error: Problem | AuthenticationFailed) -> EnrolmentRefused:
    """The gateway's refusal as one of policy, under its own code."""
    return EnrolmentRefused(error.message, error.hint, error.code)
