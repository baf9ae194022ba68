"""Rounds of a test's relay: the real enclave session, who was heard, and when a phase ends."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.node.federation import Homes
from tests.node.https_server import Exchange
from tests.playground import MEASUREMENT, MemorySpool

from crimson_enclave.dispatch import UntrustedFrame
from crimson_enclave.event_log import EventLog
from crimson_enclave.instance import Attester, Instance
from crimson_enclave.session import Session
from crimson_enclave.state import Aborted, Advertising, Confirming, Released, Sharing, Submitting, Unmasking
from crimson_protocol.wire import web
from crimson_protocol.wire.envelope import MAX_BODY, Envelope
from crimson_protocol.wire.table import BY_KIND

STATES = {
    Advertising: "advertising",
    Sharing: "sharing",
    Submitting: "submitting",
    Confirming: "confirming",
    Unmasking: "unmasking",
}
ANSWERS = {
    "advertising": {"Advertise"},
    "sharing": {"Share"},
    "submitting": {"Submit", "Complaint"},
    "confirming": {"Confirm"},
    "unmasking": {"Unmask"},
}


class Refused(Exception):
    """An answer with a problem document."""

    def __init__(self, status: int, code: str, **headers: str) -> None:
        super().__init__(code)
        self.status, self.code, self.headers = status, code, headers


@dataclass
class Round:
    """One round as the relay keeps it."""

    id: int
    model: str
    state: str = web.GATHERING
    code: str | None = None
    number: int = 0
    attempt: int = 0
    ready: set[int] = field(default_factory=set)
    expected: set[int] = field(default_factory=set)
    heard: set[int] = field(default_factory=set)
    letters: list[tuple[int | None, bytes]] = field(default_factory=list)
    payloads: dict[str, bytes] = field(default_factory=dict)
    began: float = 0.0


class Rounds:
    """One enclave and its rounds. `patience`: seconds after which a phase is closed without everybody; `gather`:
    seconds after which a round opens without everybody."""

    def __init__(self, homes: Homes, patience: float, clock: Callable[[], float]) -> None:
        self.homes, self.patience, self.gather, self.clock = homes, patience, patience, clock
        self.rounds: list[Round] = []
        self.attempts = 5
        self.spool = MemorySpool()
        self.epoch = 0
        self.log, self._signing = EventLog(), None
        self.start_enclave()
        self.changed = threading.Condition(threading.RLock())
        self.closing = False

    def start_enclave(self) -> None:
        """A new instance on the same log and key, as after a restart between rounds."""
        parties, self.epoch = self.homes.parties, self.epoch + 1
        instance = Instance.start(
            parties.policy,
            self.log.checkpoint(),
            Attester(parties.root, MEASUREMENT),
            os.urandom,
            epoch=self.epoch,
            signing=self._signing,
        )
        self._signing = instance.signing
        before = getattr(self, "session", None)
        self.session = Session(
            policy=parties.policy,
            instance=instance,
            artifacts=before.artifacts if before else self.homes.artifacts(),
            spool=self.spool,
            clock=lambda: int(self.clock()),
            entropy=os.urandom,
            log=self.log,
            places=before.places if before else {},
            published=before.published if before else {},
        )

    # What an operator and a test do.

    def call(self, model: str) -> Round:
        """Start a round."""
        with self.changed:
            self.rounds.append(Round(len(self.rounds) + 1, model, began=time.monotonic()))
            self.changed.notify_all()
            return self.rounds[-1]

    def hush(self) -> None:
        """Hold no request back any more: the test is over."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()

    def wait(self, until: Callable[[], bool], seconds: float = 60.0) -> None:
        """Until something is so; AssertionError when it takes too long."""
        end = time.monotonic() + seconds
        with self.changed:
            while not until():
                assert time.monotonic() < end, [(r.state, r.ready, r.heard, r.code) for r in self.rounds]
                self.changed.wait(0.05)

    def wait_over(self, round_: Round, seconds: float = 60.0) -> str:
        """Until the round is over; how it ended."""
        self.wait(lambda: round_.state in web.OVER, seconds)
        return round_.state

    # How a round goes on.

    def _round(self, exchange: Exchange) -> Round:
        number = int(exchange.path.split("/")[3])
        if not 1 <= number <= len(self.rounds):
            raise Refused(404, "unknown-round")
        return self.rounds[number - 1]

    def _deliver(self, round_: Round, envelope: Envelope, exchange: Exchange) -> None:
        node, kind = exchange.node, BY_KIND[envelope.kind]
        if kind.name == "Submit":
            header = kind.record.from_bytes(envelope.body, MAX_BODY)
            payload = round_.payloads.get(header.digest.hex())
            if payload is None:
                raise Refused(409, "payload-missing")
            self.spool.vectors.setdefault(node, payload)
            faults = self.session.receive(UntrustedFrame(exchange.body, iter([payload])))
        else:
            if kind.name == "Share":
                self.spool.shares[node] = exchange.body
            faults = self.session.receive(UntrustedFrame(exchange.body))
        if not faults:
            round_.heard.add(node)

    def _gather(self, round_: Round, *, late: bool = False) -> None:
        active = set(range(self.homes.nodes))
        if round_.ready == active or late:
            round_.attempt += 1
            self.spool.vectors.clear()
            self.spool.shares.clear()
            offer = self.session.open(round_.model, again=round_.attempt > 1)
            round_.number = self.session.places[round_.model][0]
            round_.expected, round_.heard = set(round_.ready), set()
            self._say(round_, [(None, offer)])

    def _advance(self, round_: Round) -> None:
        while (
            round_.state not in web.OVER and round_.state != web.GATHERING and round_.heard >= round_.expected
        ):
            self._close(round_)

    def _close(self, round_: Round) -> None:
        round_.expected &= round_.heard
        round_.heard = set()
        self._say(round_, list(self.session.close()))

    def _say(self, round_: Round, letters: list[tuple[int | None, bytes]]) -> None:
        round_.letters += letters
        round_.began = time.monotonic()
        state = self.session.state
        if isinstance(state, Released):
            round_.state = "released"
        elif isinstance(state, Aborted):
            round_.ready, round_.code = set(), state.code.value
            again = state.again and round_.attempt < self.attempts
            round_.state = web.GATHERING if again else "aborted"
        else:
            round_.state = STATES[type(state)]
        self.changed.notify_all()

    def _tick(self) -> None:
        """Phases end when their time is up."""
        while not self.closing:
            time.sleep(0.05)
            with self.changed:
                for round_ in self.rounds:
                    patience = self.gather if round_.state == web.GATHERING else self.patience
                    if time.monotonic() - round_.began < patience or round_.state in web.OVER:
                        continue
                    if round_.state != web.GATHERING:
                        self._close(round_)
                    elif len(round_.ready) >= 4:
                        self._gather(round_, late=True)
