"""The mail of one round: which letters were read, and where the round stands."""

from dataclasses import dataclass

from crimson_node.service.stopping import Stop, StopRequested
from crimson_node.transport.gateway import Gateway
from crimson_protocol.wire.web import GATHERING, OVER, Call, Letter, Mail


@dataclass
class Correspondence:
    """Letters of one round in order, each once."""

    gateway: Gateway
    stop: Stop
    call: Call
    state: str
    after: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing more will happen in this round."""
        return self.state in OVER

    def read(self, wait: int, *, owing: bool = False) -> tuple[Letter, ...]:
        """The next letters; none after `wait` seconds in which nothing happened.

        `owing`: others count on this node's next message, so a stop leaves some time for it. Raises
        StopRequested.
        """
        try:
            with self.stop.interruptible():
                mail = self._mail(wait)
        except StopRequested:
            grace = self.stop.grace_left()
            if not owing or not grace:
                raise
            mail = self._mail(min(wait, max(1, int(grace))))
        self.state = mail.state
        if mail.letters:
            self.after = mail.letters[-1].sequence
        return mail.letters

    def _mail(self, wait: int) -> Mail:
        return self.gateway.mail(self.call.round_id, self.after, wait, self.state)

    def wait_for_gathering(self, wait: int) -> bool:
        """Pass over what belongs to attempts that this node has no part in; False when the round is over."""
        hold = 0
        while not self.over:
            letters = self.read(hold)
            if self.state == GATHERING and not letters:
                return True
            # Nothing of a running attempt is ours: wait for its end, without a busy loop over its letters.
            hold = 0 if self.state == GATHERING else wait
        return False
