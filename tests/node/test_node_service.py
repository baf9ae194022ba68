"""Nodes over time: missed releases, repeated attempts, an enclave that starts anew, policies that move on."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.node.federation import MODEL, MOMENTS
from tests.node.relay import Refused
from tests.playground import parse

from crimson_node.data.errors import DataFault
from crimson_node.journal import read_journal
from crimson_node.outcome import DATA_CHECK_FAILED, failure_of
from crimson_node.seen import InstanceEndorsed, VerdictReleased
from crimson_node.service.process import serve

SERVICE = Path(serve.__code__.co_filename).parents[1]


def released(one, index: int, count: int) -> None:
    """Until a node has saved so many releases."""
    one.relay.wait(lambda: len(one.running[index].said("released")) >= count)


def test_a_node_that_was_away_adopts_what_it_missed(federation):
    one = federation(6, patience=1.0)
    one.start(1, 2, 3, 4, 5)
    assert [one.round(MOMENTS), one.round(MODEL), one.round(MODEL)] == ["released"] * 3
    one.start(0)
    assert one.round(MODEL) == "released"
    released(one, 0, 3)
    entries = [entry for _, entry in read_journal(one.homes.home(0) / "journal").entries]
    taken = [(entry.model, entry.round) for entry in entries if isinstance(entry, VerdictReleased)]
    assert taken == [(MOMENTS, 1), (MODEL, 2), (MODEL, 3)]


def test_a_model_that_needs_moments_waits_for_them(federation):
    one = federation(6, patience=1.0)
    one.start()
    round_ = one.relay.call(MODEL)
    one.relay.wait(lambda: all(node.said("sitting-out") for node in one.running.values()))
    round_.state = "lost"
    assert one.round(MOMENTS) == "released"
    assert one.round(MODEL) == "released"


def test_after_an_abort_the_same_update_is_offered_again(federation):
    """An attempt that falls apart before the verdict is repeated: new keys, new masks, the same update."""
    one, encoded = federation(6, patience=1.0), []
    silent = [True]

    def drop(exchange):
        # Three shares never reach the enclave: the attempt ends.
        name = type(parse(exchange.body)).__name__
        if name == "Share" and exchange.node in (0, 1, 2) and silent[0]:
            return 202, "", b""
        return deliver(exchange)

    deliver, one.relay.on_envelopes = one.relay.on_envelopes, drop
    one.start(witness=lambda node, vector: encoded.append((node, vector)))
    round_ = one.relay.call(MOMENTS)
    one.relay.wait(lambda: round_.attempt == 2)
    silent[0] = False
    assert one.relay.wait_over(round_) == "released"
    assert round_.attempt >= 2
    assert len(one.running[0].said("trained")) == 1
    assert len(one.running[0].said("ready")) >= 2


def test_an_enclave_that_starts_anew_is_endorsed_anew_while_nodes_wait(federation):
    one = federation()
    one.start(0, 1, 2)
    round_ = one.relay.call(MOMENTS)
    one.relay.wait(lambda: round_.ready == {0, 1, 2})
    with one.relay.changed:
        one.relay.start_enclave()
    one.relay.wait(lambda: one.relay.session.endorsed == {0, 1, 2})
    one.start(3)
    assert one.relay.wait_over(round_) == "released"
    for index in range(4):
        released(one, index, 1)
    epochs = [
        entry.epoch
        for _, entry in read_journal(one.homes.home(0) / "journal").entries
        if isinstance(entry, InstanceEndorsed)
    ]
    assert epochs == [1, 2]


def test_a_gateway_that_is_away_for_a_while_is_waited_for(federation):
    one = federation()
    one.relay.fail["policy"] = [Refused(503, "busy")] * 3
    one.relay.hang_up["mail"] = 4
    one.relay.hang_up["envelopes"] = 2
    one.start()
    assert one.round(MOMENTS) == "released"
    for index in range(4):
        released(one, index, 1)
    assert any(node.said("waiting") for node in one.running.values())


def test_a_payload_that_the_gateway_lost_is_uploaded_again(federation):
    one, lost = federation(), []
    deliver = one.relay.on_envelopes

    def forget(exchange):
        if type(parse(exchange.body)).__name__ == "Submit" and exchange.node == 0 and not lost:
            lost.append(one.relay.rounds[0].payloads.copy())
            digest = parse(exchange.body).digest.hex()
            del one.relay.rounds[0].payloads[digest]
        return deliver(exchange)

    one.relay.on_envelopes = forget
    one.start()
    assert one.round(MOMENTS) == "released"
    puts = [seen for seen in one.relay.requests if seen.node == 0 and "/payloads/" in seen.path]
    assert (len(puts), len({seen.digest for seen in puts})) == (2, 1)


def test_a_lost_artifact_is_opened_again(federation):
    one = federation(6, patience=1.0)
    one.start()
    assert one.round(MOMENTS) == "released"
    released(one, 0, 1)
    one.stop(0)
    path = one.homes.home(0) / "models" / f"{MOMENTS}.artifact"
    kept = path.read_bytes()
    path.write_bytes(b"damaged")
    one.start(0)
    assert one.round(MODEL) == "released"
    released(one, 0, 2)
    assert path.read_bytes() == kept


def test_unusable_data_ends_the_node_with_the_place(federation):
    one = federation()
    home = one.write(0)
    (home / "site.csv").write_text((home / "site.csv").read_text().replace("age", "years", 1))
    one.start(0)
    one.relay.call(MOMENTS)
    error = one.running[0].ended()
    assert isinstance(error, DataFault)
    assert (error.column, failure_of(error).exit_code) == ("age", DATA_CHECK_FAILED)


def test_a_round_that_vanished_is_left_behind(federation):
    one = federation()
    one.start()
    round_ = one.relay.call(MOMENTS)
    one.relay.wait(lambda: one.running[0].said("called"))
    round_.state = "lost"
    assert one.round(MOMENTS) == "released"


def test_only_a_python_argument_reaches_the_witness():
    """`witness` is passed on by name from `serve` to the agent, and no command passes one."""
    for path in SERVICE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if path.parent.name == "commands":
                assert not [word for word in call.keywords if word.arg == "witness"], path
            if name == "Agent":
                assert path.name == "membership.py"
            if name == "serve":
                assert (path.name, {word.arg for word in call.keywords}) == (
                    "run.py",
                    {"report", "stop", "pace"},
                )


def test_the_service_loads_torch_only_to_train():
    code = "import sys, crimson_node.commands, crimson_node.service.process; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "polars", "fastapi"} & set(done.stdout.split())
