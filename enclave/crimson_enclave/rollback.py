"""Undoing what a question did to a session: where its outcome could not be kept, it never happened."""

from crimson_enclave.bindings import Bindings
from crimson_enclave.session import Session

_REPLACED = (
    "state",
    "previous",
    "lost",
    "released",
    "culprits",
    "reports",
    "fresh_until",
    "accounts",
    "charge",
)
_LISTS = ("receipts", "faults")


class Before:
    """A session as it stood before a question.

    The sums of the running attempt are not copied: a vector enters them only together with the step that
    counts it, and what a release takes out of them it takes out once.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._replaced = {name: getattr(session, name) for name in _REPLACED}
        self._lengths = {name: len(getattr(session, name)) for name in _LISTS}
        self._places, self._artifacts = dict(session.places), dict(session.artifacts)
        self._published, self._bound = dict(session.published), Bindings(session.bound)
        self._contents = dict(session.contents)
        self._noted, self._notices = set(session.noted), list(session.notices)
        self._leaves = session.log.tree.size

    def undo(self) -> None:
        """Put everything back."""
        session = self._session
        for name, value in self._replaced.items():
            setattr(session, name, value)
        for name, length in self._lengths.items():
            del getattr(session, name)[length:]
        session.places, session.artifacts = self._places, self._artifacts
        session.published, session.bound = self._published, self._bound
        session.contents = self._contents
        session.noted, session.notices = self._noted, self._notices
        session.log.cut(self._leaves)
