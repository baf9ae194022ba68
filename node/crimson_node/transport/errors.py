"""What can go wrong between node and gateway, by what a person does about it."""

from crimson_node.outcome import CONNECTION, INTEGRITY_FAILED, TIMED_OUT, CommandFailed


class TransportFailed(CommandFailed):
    """No usable answer came."""


class Transient(TransportFailed):
    """Worth trying again. `after`: seconds that the gateway asked to wait, if it did."""

    after: float | None = None


class Unreachable(Transient):
    """No connection, or it broke."""

    exit_code = CONNECTION
    code = "unreachable"


class ProxyUnreachable(Unreachable):
    """The hospital's proxy does not answer."""

    code = "proxy-unreachable"


class TimedOut(Transient):
    """The other side was too slow."""

    exit_code = TIMED_OUT
    code = "timed-out"


class Busy(Transient):
    """The gateway answered that it cannot serve now."""

    exit_code = TIMED_OUT
    code = "busy"


class ProxyRefused(TransportFailed):
    """The proxy answered, and will not let this connection through."""

    exit_code = CONNECTION
    code = "proxy-refused"


class CertificateRejected(TransportFailed):
    """Whoever answered is not shown to be the gateway."""

    exit_code = CONNECTION
    code = "certificate-rejected"


class AuthenticationFailed(TransportFailed):
    """The gateway does not accept this node's signature."""

    exit_code = CONNECTION
    code = "authentication-failed"


class ClockSkew(AuthenticationFailed):
    """The two clocks differ too much for a signed request."""

    code = "clock-skew"


class BadAnswer(TransportFailed):
    """An answer that no honest gateway gives: too large, of another type, or not HTTP."""

    exit_code = INTEGRITY_FAILED
    code = "bad-answer"


class Problem(TransportFailed):
    """The gateway refused the request with a problem document. `code` is its stable code."""

    exit_code = CONNECTION

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(message, hint, code)
        self.status = status
