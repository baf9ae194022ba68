"""Real node processes, killed with SIGKILL between any two steps: they go on, or sit the attempt out, and never
send a second input or a second confirmation."""

import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
from tests.node.federation import MOMENTS
from tests.playground import parse

from crimson_node.journal import read_journal
from crimson_node.outcome import BAD_INPUT
from crimson_node.seen import VectorSent, VerdictConfirmed

ROOT = Path(__file__).parents[2]
VICTIM = 0
POINTS = (
    "endorsed",
    "trained",
    "ready",
    "journal:offer:before",
    "received:Offer",
    "received:Roster",
    "journal:vector:before",
    "journal:vector:after",
    "sending",
    "sent",
    "received:Freeze",
    "journal:confirmed:before",
    "journal:confirmed:after",
    "received:UnmaskRequest",
    "journal:released:before",
    "journal:released:after",
    "released",
    "round-over",
)


class Victim:
    """A node process."""

    def __init__(self, home: Path, *points: str) -> None:
        command = [sys.executable, "-m", "tests.node.victim", str(home), *points]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def killed(self) -> bool:
        """Whether it died by SIGKILL, once it ended."""
        _, errors = self.process.communicate(timeout=60)
        assert self.process.returncode in (-signal.SIGKILL, 0), errors.decode()
        return self.process.returncode == -signal.SIGKILL

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        assert not errors, errors.decode()
        return self.process.returncode


@pytest.fixture
def six(federation):
    """Five nodes in threads, and one home for a process that will be killed."""
    one = federation(6)
    one.start(1, 2, 3, 4, 5)
    one.write(VICTIM)
    posted = defaultdict(list)
    receive = one.relay.on_envelopes

    def recorded(exchange):
        posted[exchange.node].append((int(exchange.path.split("/")[3]), exchange.body))
        return receive(exchange)

    one.relay.on_envelopes, one.posted = recorded, posted
    return one


def hurry(relay, seconds: float | None) -> None:
    """How long the relay waits for missing nodes; None: for as long as a test may take."""
    relay.patience = relay.gather = 60.0 if seconds is None else seconds


def check_signed_once(one) -> None:
    """Over the victim's whole life: one input per attempt, one Confirm per round, nothing sent before its entry."""
    entries = [entry for _, entry in read_journal(one.homes.home(VICTIM) / "journal").entries]
    sent = [entry for entry in entries if isinstance(entry, VectorSent)]
    confirmed = [entry for entry in entries if isinstance(entry, VerdictConfirmed)]
    assert len({entry.t1 for entry in sent}) == len(sent)
    assert len({(entry.model, entry.round) for entry in confirmed}) == len(confirmed)
    messages = defaultdict(set)
    for round_id, body in one.posted[VICTIM]:
        messages[type(parse(body)).__name__].add((round_id, body))
    confirms = messages["Confirm"]
    assert len({(parse(body).model, parse(body).round) for _, body in confirms}) == len(confirms)
    assert {parse(body).v for _, body in confirms} <= {entry.v for entry in confirmed}
    submits = [parse(body) for body in {body for _, body in messages["Submit"]}]
    assert len({submit.t1 for submit in submits}) == len(submits)
    assert {submit.digest for submit in submits} <= {entry.digest for entry in sent}
    uploads = {seen.path.rsplit("/", 1)[-1] for seen in one.relay.requests if "/payloads/" in seen.path}
    own = {
        seen.path.rsplit("/", 1)[-1]
        for seen in one.relay.requests
        if seen.node == VICTIM and "/payloads/" in seen.path
    }
    assert own <= {entry.digest.hex() for entry in sent}
    assert own <= uploads


def test_killed_between_any_two_steps_and_back_for_the_next_round(six):
    """Each process takes over from a killed one, and is killed a step later in the next round."""
    home, relay = six.homes.home(VICTIM), six.relay
    for point in POINTS:
        hurry(relay, None)
        victim = Victim(home, point)
        round_ = relay.call(MOMENTS)
        assert victim.killed(), point
        hurry(relay, 0.3)
        assert relay.wait_over(round_) == "released", point
    hurry(relay, None)
    last = Victim(home)
    round_ = relay.call(MOMENTS)
    assert relay.wait_over(round_) == "released"
    receipt = home / "receipts" / f"{MOMENTS}-{len(POINTS) + 1}.cbor"
    relay.wait(receipt.exists)
    assert last.end() == 0
    assert len(round_.expected) == 6
    check_signed_once(six)


def test_killed_at_random_moments(six):
    home, relay, draw = six.homes.home(VICTIM), six.relay, random.Random()
    for _ in range(3):
        hurry(relay, None)
        victim = Victim(home)
        round_ = relay.call(MOMENTS)
        time.sleep(draw.uniform(0.8, 3.5))
        victim.process.kill()
        assert victim.killed()
        hurry(relay, 0.3)
        # Exact sums on one model keep their cohort (9.7): where an earlier round counted the victim, one without it
        # ends without a release.
        over = relay.wait_over(round_)
        assert over == "released" or (over, round_.code) == ("aborted", "survivors-changed")
    hurry(relay, None)
    last = Victim(home)
    round_ = relay.call(MOMENTS)
    assert relay.wait_over(round_) == "released"
    relay.wait((home / "receipts" / f"{MOMENTS}-4.cbor").exists)
    assert last.end() == 0
    check_signed_once(six)


def test_an_unacknowledged_vector_goes_out_again_with_the_same_bytes(six):
    """Killed while the upload was under way: the process that follows sends those bytes and makes no others."""
    home, relay = six.homes.home(VICTIM), six.relay
    victim = Victim(home, "sending")
    round_ = relay.call(MOMENTS)
    assert victim.killed()
    kept = (home / "outbox" / "vector").read_bytes()
    follower = Victim(home)
    relay.wait(lambda: VICTIM in relay.spool.vectors)
    assert relay.spool.vectors[VICTIM] == kept
    hurry(relay, 0.3)
    assert relay.wait_over(round_) == "released"
    # Its input counts although it could neither confirm nor open.
    assert follower.end() == 0
    check_signed_once(six)
    assert sum(isinstance(entry, VectorSent) for _, entry in read_journal(home / "journal").entries) == 1


def test_two_agents_on_one_home_are_refused(six):
    home = six.homes.home(VICTIM)
    first = Victim(home)
    six.relay.wait(lambda: VICTIM in six.relay.session.endorsed)
    crimson = Path(sys.executable).with_name("crimson")
    command = [str(crimson), "node", "run", "--home", str(home), "--json"]
    second = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert (second.returncode, "home-in-use" in second.stdout) == (BAD_INPUT, True)
    assert first.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_the_middle_of_a_round_leaves_it_complete(six, number):
    """Asked to stop once its vector is out, the node still confirms and opens; then it goes."""
    home, relay = six.homes.home(VICTIM), six.relay
    victim = Victim(home)
    round_ = relay.call(MOMENTS)
    relay.wait(lambda: VICTIM in relay.spool.vectors)
    assert victim.end(number) == 0
    assert relay.wait_over(round_) == "released"
    names = [type(parse(body)).__name__ for _, body in six.posted[VICTIM]]
    assert {"Confirm", "Unmask"} <= set(names)


def test_a_stop_while_idle_is_prompt(six):
    victim = Victim(six.homes.home(VICTIM))
    six.relay.wait(lambda: VICTIM in six.relay.session.endorsed)
    asked = [seen for seen in six.relay.requests if seen.node == VICTIM]
    assert victim.end() == 0
    assert len([seen for seen in six.relay.requests if seen.node == VICTIM]) <= len(asked) + 1
