"""What operators decide about sites, and each way of deciding that is refused. The gateway is a real process."""

import json
import os
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from tests.gateway.federation import Federation, Together
from tests.gateway.problem import problem
from tests.gateway.sites import Member, Site, reports

REASON = json.dumps({"reason": "its machine is being rebuilt"}).encode()


@pytest.fixture
def site(enrolling: Federation) -> Site:
    """A site that asked to join."""
    return Site(enrolling, f"site-{os.urandom(4).hex()}").joined()


@pytest.fixture
def member(enrolling: Federation) -> Member:
    """A node of the roster, with nothing held against it afterwards."""
    member = Member(enrolling, 0)
    yield member
    enrolling.operator().ask("DELETE", f"/v1/nodes/{member.node}/suspension")


def approve(operator, site: Site, words: str | None = None):
    body = json.dumps({"fingerprint": words or site.words}).encode()
    return operator.ask("POST", f"/v1/enrolments/{site.node}/approval", body)


def suspend(operator, node: str, body: bytes = REASON):
    return operator.ask("POST", f"/v1/nodes/{node}/suspension", body)


def revoke(operator, node: str):
    return operator.ask("POST", f"/v1/nodes/{node}/revocation", REASON)


def test_enough_operators_approve_a_request(enrolling, site, staff):
    first = approve(staff[0], site)
    assert (first.status_code, first.json()["state"], first.json()["approvals"]) == (
        200,
        "requested",
        ["operator"],
    )
    assert (site.state().state, site.state().approvals) == ("requested", 1)
    second = approve(staff[1], site, site.words.upper().replace(" ", " - ")).json()
    assert (second["state"], second["needed"]) == ("approved", 2)
    assert site.state().state == "approved"
    kinds = [row[::2] for row in reports(enrolling) if row[1] == site.node and row[0] == "node-approved"]
    assert kinds == [("node-approved", "operator"), ("node-approved", "operator-0")]


def test_a_fingerprint_may_be_typed_as_its_digest(enrolling, site, staff):
    digest = " ".join(site.digest[place : place + 4].upper() for place in range(0, 64, 4))
    assert approve(staff[0], site, digest).json()["approvals"] == ["operator"]
    for wrong in (site.digest[:20], site.digest[:-1], site.digest + "00"):
        assert problem(approve(staff[1], site, wrong)) == "fingerprint-differs"


def test_the_same_operator_approving_twice_is_no_quorum(enrolling, site, staff):
    for _ in range(3):
        view = approve(staff[0], site).json()
    assert (view["state"], view["approvals"]) == ("requested", ["operator"])
    assert site.state().approvals == 1


def test_an_approval_with_a_wrong_fingerprint_is_refused_and_noted(enrolling, site, staff):
    other = Site(enrolling, site.node + "x")
    for words in (other.words, "word " * 10, site.words.rsplit(" ", 1)[0], "00" * 32):
        assert problem(approve(staff[0], site, words)) == "fingerprint-differs"
    assert site.state().approvals == 0
    noted = [row for row in reports(enrolling) if row[1] == site.node and row[3] == "fingerprint-differs"]
    assert len(noted) == 4 and {row[2] for row in noted} == {"operator"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"fingerprint": 5}', b'{"fingerprint": "w", "more": 1}', b"\xff"]
)
def test_an_approval_that_is_none_is_refused(enrolling, site, staff, body):
    assert problem(staff[0].ask("POST", f"/v1/enrolments/{site.node}/approval", body)) == "bad-parameter"


def test_a_node_does_not_approve(enrolling, site):
    assert problem(approve(enrolling.client(0), site)) == "not-permitted"
    assert problem(approve(site.client(), site)) == "not-permitted"
    assert problem(approve(enrolling.operator(), Site(enrolling, "nobody"))) == "unknown-enrolment"


def test_a_refused_request_is_over(enrolling, site, staff):
    assert revoke(staff[0], site.node).status_code == 204
    state = site.state()
    assert (state.state, state.reason) == ("refused", "its machine is being rebuilt")
    assert problem(approve(staff[0], site)) == "enrolment-closed"
    refused = site.client(site.identity)
    assert problem(refused.ask("GET", "/v1/policy")) == "node-revoked"
    assert site.state(site.identity).state == "refused"
    again = Site(enrolling, site.node, expires=int(time.time()) + 99)
    again.invite()
    again.identity = site.identity
    assert problem(again.join()) == "node-revoked"
    again.fresh_keys()
    assert again.join().status_code == 201


def test_a_suspended_site_is_not_approved_until_it_is_resumed(enrolling, site, staff):
    assert suspend(staff[1], site.node).status_code == 204
    assert (site.state().state, site.state().reason) == ("suspended", "its machine is being rebuilt")
    assert problem(approve(staff[0], site)) == "node-suspended"
    assert staff[1].ask("DELETE", f"/v1/nodes/{site.node}/suspension").status_code == 204
    assert approve(staff[0], site).status_code == 200


def test_a_suspended_node_is_refused_at_once_everywhere(enrolling, member, staff):
    node = member.client(member.current)
    assert node.ask("GET", "/v1/policy").status_code == 200
    assert suspend(staff[0], member.node).status_code == 204
    for method, path in (("GET", "/v1/policy"), ("GET", "/v1/calls"), ("PUT", "/v1/rounds/1/ready")):
        assert problem(node.ask(method, path)) == "node-suspended"
    assert problem(member.rotate()) == "node-suspended"
    assert problem(member.leave(member.leaving())) == "node-suspended"
    assert problem(Site(enrolling, member.node).invite()) == "node-suspended"
    state = member.state(member.current)
    assert (state.state, state.reason) == ("suspended", "its machine is being rebuilt")
    views = {view["node"]: view for view in staff[0].ask("GET", "/v1/nodes").json()["nodes"]}
    assert (views[member.node]["held"], views[member.node]["status"]) == ("suspended", "active")


def test_a_suspended_node_is_still_refused_after_a_kill(enrolling, member, staff):
    suspend(staff[0], member.node)
    enrolling.kill()
    enrolling.start()
    assert problem(member.client(member.current).ask("GET", "/v1/policy")) == "node-suspended"
    operator = enrolling.operator()
    assert operator.ask("DELETE", f"/v1/nodes/{member.node}/suspension").status_code == 204
    assert member.client(member.current).ask("GET", "/v1/policy").status_code == 200
    assert member.state(member.current).state == "listed"


def test_a_node_suspended_while_it_waits_is_told_at_once(enrolling, member, staff):
    answers = []
    node = member.client(member.current)

    def wait() -> None:
        answers.append(node.ask("GET", "/v1/calls", query={"wait": 25, "after": 2**40}))

    waiting = threading.Thread(target=wait)
    began = time.monotonic()
    waiting.start()
    time.sleep(0.5)
    suspend(staff[0], member.node)
    waiting.join(10)
    assert problem(answers[0]) == "node-suspended" and time.monotonic() - began < 5


def test_a_revoked_node_is_refused_for_good(enrolling, staff):
    member = Member(enrolling, 3)
    suspend(staff[0], member.node)
    assert revoke(staff[1], member.node).status_code == 204
    assert problem(member.client(member.current).ask("GET", "/v1/policy")) == "node-revoked"
    assert member.state(member.current).state == "revoked"
    assert problem(staff[0].ask("DELETE", f"/v1/nodes/{member.node}/suspension")) == "node-revoked"
    enrolling.kill()
    enrolling.start()
    assert problem(member.client(member.current).ask("GET", "/v1/policy")) == "node-revoked"
    assert problem(Member(enrolling, 3).invite()) == "node-listed"


def test_a_revoked_node_cannot_have_its_keys_changed(enrolling):
    """Its rotation was under way when its key was found stolen."""
    member = Member(enrolling, 4)
    assert member.rotate().status_code == 201
    assert revoke(enrolling.operator(), member.node).status_code == 204
    assert problem(member.client(member.identity).ask("GET", "/v1/policy")) == "node-revoked"
    assert problem(approve(enrolling.operator(), member)) == "enrolment-closed"
    assert problem(member.rotate()) == "node-revoked"


def test_a_suspension_outlives_the_request_that_it_stopped_and_can_be_lifted(enrolling, site, staff):
    suspend(staff[0], site.node)
    with closing(sqlite3.connect(enrolling.home / "gateway.db")) as database, database:
        database.execute("UPDATE enrolments SET state = 'expired' WHERE node = ?", (site.node,))
    assert staff[0].ask("DELETE", f"/v1/nodes/{site.node}/suspension").status_code == 204
    assert problem(staff[0].ask("DELETE", f"/v1/nodes/{site.node}/suspension")) == "unknown-node"


def test_a_node_that_left_is_out_under_the_keys_that_it_asked_for_too(enrolling, staff):
    """Its rotation was approved, and governors may publish it after it left."""
    member = Member(enrolling, 2)
    assert member.rotate().status_code == 201
    assert member.leave(member.leaving()).status_code in (200, 201)
    with closing(sqlite3.connect(enrolling.home / "gateway.db")) as database:
        held = database.execute(
            "SELECT identity_key FROM suspensions WHERE node = ?", (member.node,)
        ).fetchall()
    assert {key for (key,) in held} == {member.current.public, member.identity.public}


@pytest.mark.parametrize("reason", ["", "x" * 201, "two\nlines", "\x1b[31m", "\u202e", 5])
def test_a_reason_that_cannot_be_shown_is_refused(enrolling, staff, reason):
    body = json.dumps({"reason": reason}).encode()
    assert problem(suspend(staff[0], "site-1", body)) == "bad-parameter"


def test_nobody_suspends_a_node_that_does_not_exist(enrolling, staff):
    assert problem(suspend(staff[0], "nobody")) == "unknown-node"
    assert problem(revoke(staff[0], "nobody")) == "unknown-node"
    assert problem(staff[0].ask("DELETE", "/v1/nodes/nobody/suspension")) == "unknown-node"
    assert problem(suspend(enrolling.client(1), "site-1")) == "not-permitted"


def test_no_round_waits_for_a_suspended_node(federate):
    federation = federate(6, gather_seconds=120)
    hospitals = federation.hospitals()
    operator = federation.operator()
    assert suspend(operator, "site-5").status_code == 204
    round_ = federation.order_round()
    ended = Together(hospitals[:5]).join()
    assert set(ended.values()) == {"released"}
    assert federation.round(round_["id"])["state"] == "released"


def test_a_node_suspended_while_nodes_gather_is_not_waited_for(federate):
    federation = federate(6, gather_seconds=120)
    hospitals = federation.hospitals()
    round_ = federation.order_round()
    together = Together(hospitals[:5])
    end = time.monotonic() + 20
    while federation.round(round_["id"])["waiting"] != ["site-5"] and time.monotonic() < end:
        time.sleep(0.05)
    assert suspend(federation.operator(), "site-5").status_code == 204
    assert set(together.join().values()) == {"released"}


def test_a_node_suspended_in_mid_round_costs_the_others_nothing(federate):
    federation = federate(6, phase_seconds=60)
    hospitals = federation.hospitals()
    gate = threading.Event()
    hospitals[5].pause_before["Roster"] = gate
    round_ = federation.order_round()
    together = Together(hospitals)
    federation.wait_until(round_["id"], "sharing")
    assert suspend(federation.operator(), "site-5").status_code == 204
    view = federation.wait_until(round_["id"], "released")
    gate.set()
    assert view["attempt"] == 1 and view["faults"] == []
    for thread in together._threads:
        thread.join(30)
    assert {state for node, state in together.ended.items() if node != 5} == {"released"}


def test_with_too_many_suspended_a_round_ends_by_itself(federate):
    federation = federate(5, gather_seconds=2)
    for node in ("site-2", "site-3", "site-4"):
        assert suspend(federation.operator(), node).status_code == 204
    round_ = federation.order_round()
    assert set(Together(federation.hospitals()[:2]).join().values()) == {"aborted"}
    assert federation.round(round_["id"])["code"] == "cohort-too-small"
