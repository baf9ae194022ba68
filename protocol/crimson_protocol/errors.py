"""Errors by blame: a peer's fault, our own fault, or a refusal by policy.

Whoever raises one decides whether a participant is to blame; a handler that names a culprit never has
to guess. `code` is the only part that may be sent to another party.
"""

from crimson_protocol.refusal import Refusal


class CrimsonError(Exception):
    """Base of every error this code raises on purpose."""

    def __init__(self, code: Refusal, text: str) -> None:
        super().__init__(f"{text} [{code.value}]")
        self.code = code
        self.text = text


class PeerFault(CrimsonError):
    """A message broke a rule. `culprit` is a node id, "enclave", or None where nobody can be named."""

    def __init__(self, code: Refusal, text: str, culprit: str | None = None) -> None:
        super().__init__(code, text if culprit is None else f"{culprit}: {text}")
        self.culprit = culprit

    def blamed_on(self, culprit: str) -> "PeerFault":
        """The same fault with a culprit, for a parser that did not know whose bytes it read."""
        return self if self.culprit is not None else PeerFault(self.code, self.text, culprit)


class PolicyRefusal(CrimsonError):
    """The signed policy forbids this, or the policy itself is unsound."""


class CallerFault(CrimsonError):
    """Our own code used an interface wrongly, or our own input is unusable. Never caused by a peer."""
