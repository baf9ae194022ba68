"""Refusals on the way into a federation and out of it."""

from crimson_node.outcome import REFUSED_BY_POLICY, TIMED_OUT, CommandFailed


class EnrolmentRefused(CommandFailed):
    """The policy, or the gateway's book of invitations, does not admit this site."""

    exit_code = REFUSED_BY_POLICY
    code = "join-refused"


class StillWaiting(CommandFailed):
    """Nobody decided within the time that somebody wanted to wait."""

    exit_code = TIMED_OUT
    code = "still-waiting"


class Declined(CommandFailed):
    """A person was asked and did not say yes."""

    code = "declined"
