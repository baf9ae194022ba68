"""kill -9 of gateway and enclave at any moment: what was acknowledged is kept, and the round goes on or ends."""

import sqlite3
import threading
import time

import pytest
from tests.gateway.federation import Together

PHASES = ["Roster", "Shared", "Verdict", "UnmaskRequest"]


@pytest.mark.parametrize("phase", PHASES)
def test_a_gateway_killed_in_mid_round_goes_on_where_it_was(federate, phase):
    federation = federate(5)
    hospitals = federation.hospitals()
    gate = threading.Event()
    hospitals[0].pause_before[phase] = gate
    round_ = federation.order_round()
    together = Together(hospitals)
    states = {
        "Roster": "sharing",
        "Shared": "submitting",
        "Verdict": "confirming",
        "UnmaskRequest": "unmasking",
    }
    federation.wait_until(round_["id"], states[phase])
    federation.kill()
    federation.start()
    gate.set()
    assert set(together.join().values()) == {"released"}
    assert len({hospital.artifact for hospital in hospitals}) == 1
    assert federation.round(round_["id"])["attempt"] == 1


def test_a_gateway_killed_again_and_again_still_finishes(federate):
    federation = federate(5)
    hospitals = federation.hospitals(patience=60)
    round_ = federation.order_round()
    together = Together(hospitals)
    for pause in (0.1, 0.3, 0.2, 0.5):
        time.sleep(pause)
        federation.kill()
        federation.start()
    assert set(together.join(90).values()) == {"released"}
    assert federation.round(round_["id"])["state"] == "released"


@pytest.mark.parametrize("phase", ["Roster", "Shared"])
def test_an_enclave_killed_before_the_verdict_gets_another_attempt(federate, phase):
    federation = federate(5)
    hospitals = federation.hospitals()
    gate = threading.Event()
    hospitals[0].pause_before[phase] = gate
    round_ = federation.order_round()
    together = Together(hospitals)
    federation.wait_until(round_["id"], {"Roster": "sharing", "Shared": "submitting"}[phase])
    federation.enclave.kill()
    federation.enclave.start()
    hospitals[0].pause_before.clear()
    gate.set()
    assert set(together.join().values()) == {"released"}
    view = federation.round(round_["id"])
    assert (view["state"], view["attempt"]) == ("released", 2)


def test_an_enclave_killed_while_nodes_gather_is_vouched_for_anew(federate):
    federation = federate(5)
    hospitals = federation.hospitals()
    round_ = federation.order_round()
    early = Together(hospitals[:4])
    end = time.monotonic() + 20
    while len(federation.round(round_["id"])["waiting"]) > 1 and time.monotonic() < end:
        time.sleep(0.05)
    federation.enclave.kill()
    federation.enclave.start()
    late = Together(hospitals[4:])
    assert {*early.join().values(), *late.join().values()} == {"released"}


def test_an_enclave_killed_after_the_verdict_loses_the_round_and_the_next_one_works(federate):
    federation = federate(5)
    hospitals = federation.hospitals()
    gate = threading.Event()
    hospitals[0].pause_before["Verdict"] = gate
    round_ = federation.order_round()
    together = Together(hospitals)
    federation.wait_until(round_["id"], "confirming")
    federation.enclave.kill()
    federation.enclave.start()
    hospitals[0].pause_before.clear()
    gate.set()
    assert set(together.join().values()) == {"lost"}
    view = federation.round(round_["id"])
    assert (view["state"], view["code"]) == ("lost", "restarted")


def test_gateway_and_enclave_killed_at_once_recover(federate):
    federation = federate(5)
    hospitals = federation.hospitals()
    gate = threading.Event()
    hospitals[0].pause_before["Shared"] = gate
    round_ = federation.order_round()
    together = Together(hospitals)
    federation.wait_until(round_["id"], "submitting")
    federation.kill()
    federation.enclave.kill()
    federation.enclave.start()
    federation.start()
    hospitals[0].pause_before.clear()
    gate.set()
    assert set(together.join().values()) == {"released"}


def test_a_node_that_vanishes_costs_the_others_nothing(federate):
    federation = federate(6, phase_seconds=3)
    hospitals = federation.hospitals()
    hospitals[5].stop_after = "Roster"
    round_ = federation.order_round()
    ended = Together(hospitals).join()
    assert ended.pop(5) == "vanished"
    assert set(ended.values()) == {"released"}
    assert federation.round(round_["id"])["state"] == "released"


def test_a_round_without_enough_nodes_ends_by_itself(federate):
    federation = federate(5, gather_seconds=2)
    round_ = federation.order_round()
    ended = Together(federation.hospitals()[:2]).join()
    assert set(ended.values()) == {"aborted"}
    view = federation.round(round_["id"])
    assert (view["state"], view["code"]) == ("aborted", "cohort-too-small")


def test_rounds_follow_each_other_and_late_nodes_find_the_release(federate):
    federation = federate(5)
    hospitals = federation.hospitals()
    after = 0
    for number in (1, 2, 3):
        round_ = federation.order_round()
        assert set(Together(hospitals, after).join().values()) == {"released"}
        after = round_["id"]
        assert federation.round(after)["number"] == number
    spool = federation.home / "spool"
    assert not list((spool / "rounds").glob("*/attempts")), "uploads of finished rounds stay"
    assert federation.stop() == 0


def test_sigterm_ends_long_polls_at_once_and_leaves_no_process(federate):
    federation = federate(5)
    node = federation.client(0)
    answers = []
    waiting = threading.Thread(
        target=lambda: answers.append(node.ask("GET", "/v1/calls", query={"wait": 25}).status_code)
    )
    waiting.start()
    time.sleep(0.5)
    assert federation.stop() == 0
    waiting.join(5)
    assert answers == [204]


def test_a_round_of_a_model_that_the_policy_no_longer_lists_holds_nobody_up(federate):
    federation = federate()
    retired = federation.order_round()["id"]
    federation.kill()
    with sqlite3.connect(federation.home / "gateway.db") as database:
        database.execute("update rounds set model = 'retired' where id = ?", (retired,))
    federation.start()
    next_ = federation.order_round()["id"]
    assert federation.wait_until(retired, "lost")["code"] == "model-rejected"
    together = Together(federation.hospitals(), after=retired)
    assert federation.wait_until(next_, "released")
    together.join()
