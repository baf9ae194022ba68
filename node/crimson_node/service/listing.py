"""A site that has asked to join starts its agent at once; the agent waits here until a policy lists it."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from crimson_node.enrolment.beginning import Choices, begin
from crimson_node.enrolment.errors import EnrolmentRefused
from crimson_node.enrolment.joining import OVER
from crimson_node.enrolment.joining_home import JoiningHome
from crimson_node.enrolment.standing import EnrolmentFiles, Standing
from crimson_node.service.events import Report, say, warn
from crimson_node.service.stopping import Stop
from crimson_node.transport.backoff import Backoff
from crimson_node.transport.errors import Transient

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0
"""Most seconds between two questions, growing: governors take days."""


@dataclass
class Listing:
    """Asks how the request stands until a signed policy lists the site. longest: seconds without an answer after
    which it gives up, None for never."""

    files: EnrolmentFiles
    stop: Stop
    report: Report
    clock: Callable[[], int]
    longest: float | None = None
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_PAUSE, LONGEST_PAUSE))
    _told: tuple[str, int] | None = None

    def wait(self) -> None:
        """Return at once for a member. The home's lock is held.

        Raises EnrolmentRefused where the request was refused (nothing is removed), and StopRequested.
        """
        tries, heard = 0, time.monotonic()
        while self.files.standing() is Standing.REQUESTED:
            try:
                with self.stop.interruptible():
                    listed = self._ask()
                heard = time.monotonic()
            except Transient as error:
                if self.longest is not None and time.monotonic() - heard >= self.longest:
                    raise
                warn(self.report, "waiting", code=error.code, reason=error.message)
                listed = False
            if not listed:
                with self.stop.interruptible():
                    self.stop.pause(self.backoff.pause(tries))
                tries += 1
        if self.files.invitation.exists():
            JoiningHome(self.files).settle()

    def _ask(self) -> bool:
        join = begin(self.files, None, Choices(), self.clock, os.urandom, alone=True)
        state = join.state()
        if state.state in OVER:
            hint = f"crimson node join --home {self.files.root} clears the home; then ask for another token"
            text = f"{state.node} was not let in: {state.state}"
            raise EnrolmentRefused(f"{text}, {state.reason}" if state.reason else text, hint)
        if (state.state, state.approvals) != self._told:
            self._told = state.state, state.approvals
            say(
                self.report,
                "not-listed-yet",
                state=state.state,
                approvals=state.approvals,
                needed=state.needed,
            )
        return state.state == "listed" and join.follow().listed
