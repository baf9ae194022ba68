"""kill -9 of gateway, enclave and nodes at random moments: a round ends released or aborted, and the next one works.

`CRIMSON_KILLS` says how often each kind of process is killed: twice, and ten times in `make chaos`.
"""

import os
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from crimson_node.home import NodeHome
from crimson_node.journal import Journal
from crimson_node.seen import VectorSent, VerdictConfirmed
from crimson_protocol.wire.messages.confirm import Confirm
from crimson_protocol.wire.messages.submit import Submit
from crimson_protocol.wire.table import BY_RECORD
from crimson_simulation.dataset import read_pooled
from crimson_simulation.demo_data import write_whas500
from crimson_simulation.engine import RoundLost
from crimson_simulation.options import TrainOptions
from crimson_simulation.parties import make_parties
from crimson_simulation.policy_writer import MODEL, MOMENTS
from crimson_simulation.processes.engine import ProcessEngine
from crimson_simulation.processes.homes import Deadlines
from crimson_simulation.public_facts import public_facts

pytestmark = pytest.mark.long
KILLS = int(os.environ.get("CRIMSON_KILLS", "2"))
SEED = int(os.environ.get("CRIMSON_CHAOS_SEED", "0"))
ROUND_SECONDS = 1.2
"""Roughly how long an undisturbed round takes: kills fall anywhere in it."""


class Chaos:
    """A running federation, and a hand that kills."""

    def __init__(self, out: Path) -> None:
        data = out / "whas500.csv"
        write_whas500(data)
        options = TrainOptions(
            data=data, time_column="time", event_column="event", out=out, site_column="site"
        )
        pooled = read_pooled(data, site_column="site", time_column="time", event_column="event")
        self.parties = make_parties(pooled, options, public_facts(pooled))
        self.engine = ProcessEngine(self.parties, out / "run")
        self.engine.deadlines = Deadlines(gather=30, phase=6, grace=0.5)
        self.outcomes: Counter[str] = Counter()

    def kill_later(self, name: str, after: float) -> threading.Timer:
        child = self.engine.supervisor.children[name]

        def strike() -> None:
            child.expected_to_die = True
            child.kill()

        timer = threading.Timer(after, strike)
        timer.start()
        return timer

    def round(self, model: str = MODEL) -> str:
        try:
            self.engine.run_round(model)
        except RoundLost as lost:
            self.outcomes[lost.code] += 1
            return lost.code
        self.outcomes["released"] += 1
        return "released"

    def settle(self) -> None:
        """Until whoever was killed is running again."""
        deadline = time.monotonic() + 30
        while not all(child.alive for child in self.engine.supervisor.children.values()):
            self.engine.supervisor.check()
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture(scope="module")
def chaos(tmp_path_factory) -> Iterator[Chaos]:
    made = Chaos(tmp_path_factory.mktemp("chaos"))
    with made.engine:
        assert made.round(MOMENTS) == "released"
        yield made


@pytest.mark.parametrize("kind", ["gateway", "enclave", "node"])
def test_a_kill_at_any_moment_costs_at_most_the_round(chaos, kind):
    draw = random.Random(f"{SEED}/{kind}")
    for number in range(KILLS):
        name = kind if kind != "node" else f"node-{draw.randrange(len(chaos.parties.names)):03d}"
        moment = draw.uniform(0.0, ROUND_SECONDS)
        timer = chaos.kill_later(name, moment)
        outcome = chaos.round()
        timer.join()
        chaos.settle()
        print(f"  {kind} kill {number + 1}: {name} after {moment:.2f} s: {outcome}")
        # Whatever became of that round, the next one is released.
        assert chaos.round() == "released", f"after {name} was killed at {moment:.2f} s"
    assert chaos.engine.facts().sum_matches_plain is True


def test_no_node_sent_two_inputs_in_an_attempt_or_confirmed_a_round_twice(chaos):
    for index in range(len(chaos.parties.names)):
        home = NodeHome(chaos.engine.homes.node(index))
        with closing(Journal(home.journal)) as journal:
            entries = [entry for _, entry in journal.entries()]
        vectors = [(e.model, e.round, e.attempt) for e in entries if isinstance(e, VectorSent)]
        confirmed = [(e.model, e.round) for e in entries if isinstance(e, VerdictConfirmed)]
        assert vectors and len(set(vectors)) == len(vectors)
        assert confirmed and len(set(confirmed)) == len(confirmed)


def test_what_the_gateway_acknowledged_was_delivered_or_its_attempt_had_ended(chaos):
    """An acknowledged message is never lost: in the attempt that was released, all of them reached the enclave."""
    with closing(sqlite3.connect(chaos.engine.homes.gateway / "gateway.db")) as database:
        rows = database.execute(
            "select u.kind, count(distinct u.digest), min(u.delivered)"
            " from uploads u join rounds r on r.id = u.round_id and r.attempt = u.attempt"
            " where r.state = 'released' group by u.round_id, u.node, u.kind"
        ).fetchall()
    assert {kind for kind, _, _ in rows} >= {BY_RECORD[record].kind for record in (Submit, Confirm)}
    for kind, different, delivered in rows:
        assert delivered, f"an acknowledged message of kind {kind} never reached the enclave"
        assert different == 1 or kind not in (BY_RECORD[Submit].kind, BY_RECORD[Confirm].kind)
