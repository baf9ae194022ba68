"""An agent that is started before the governors have listed its site waits for them, and goes on by itself."""

import time

import pytest
from tests.node.commands import joined, member, refused
from tests.node.conftest import Running
from tests.node.federation import write_rows
from tests.node.relay_rounds import Refused

from crimson_node.enrolment.errors import EnrolmentRefused
from crimson_node.enrolment.standing import EnrolmentFiles, Standing
from crimson_node.outcome import BAD_INPUT, REFUSED_BY_POLICY
from crimson_node.service import listing
from crimson_node.transport.errors import Busy


@pytest.fixture
def waiting(desk, home, capsys, tmp_path, monkeypatch):
    """Starts the agent of a site that no policy lists yet."""
    write_rows(tmp_path / "units.csv", 1)
    joined(capsys, desk, home, "--data", tmp_path / "units.csv")
    monkeypatch.setattr(listing, "LONGEST_PAUSE", 0.1)
    return lambda **options: Running(home, **options)


def heard(node: Running, name: str) -> None:
    end = time.monotonic() + 30
    while not node.said(name):
        assert time.monotonic() < end, [event.text() for event in node.events]
        time.sleep(0.02)


def test_an_agent_waits_for_the_governors_and_goes_on(desk, home, waiting):
    node = waiting()
    heard(node, "not-listed-yet")
    assert not node.said("policy")
    desk.tell("approved")
    desk.fail = [Refused(503, "busy")]
    desk.list_site()
    heard(node, "policy")
    assert EnrolmentFiles(home).standing() is Standing.MEMBER
    assert not list(home.glob("join.*")) and not (home / "keys" / "invitation.pem").exists()
    # The desk has no enclave behind it, which is where this node ends.
    assert node.ended().code == "not-found"


def test_an_agent_whose_request_is_refused_ends_with_the_reason_and_removes_nothing(desk, home, waiting):
    desk.tell("refused", 0, "the words did not match")
    error = waiting().ended()
    assert isinstance(error, EnrolmentRefused)
    assert (error.failure.exit_code, "did not match" in error.message) == (REFUSED_BY_POLICY, True)
    assert EnrolmentFiles(home).standing() is Standing.REQUESTED


def test_an_agent_does_not_believe_a_gateway_that_says_listed(desk, home, waiting):
    desk.tell("listed")
    node = waiting()
    heard(node, "not-listed-yet")
    time.sleep(0.5)
    assert not node.said("policy")
    node.stop.request()
    assert node.ended() is None
    assert EnrolmentFiles(home).standing() is Standing.REQUESTED


def test_an_agent_that_waits_stops_when_asked_and_gives_up_when_told_so(desk, home, waiting, quick):
    node = waiting()
    heard(node, "not-listed-yet")
    node.stop.request()
    assert node.ended() is None
    desk.fail = [Refused(503, "busy")] * 10_000
    assert isinstance(waiting(pace=quick(longest=0.2)).ended(), Busy)


def test_a_join_that_did_not_reach_the_gateway_says_how_to_go_on(desk, home, capsys, tmp_path):
    joined(capsys, desk, home, "--request-file", tmp_path / "request.cbor")
    assert refused(capsys, "run", "--home", home) == (BAD_INPUT, "not-a-member")


def test_what_a_killed_agent_left_of_the_joining_is_cleared(desk, home, capsys, tmp_path):
    member(capsys, desk, home)
    (home / "join.invitation").write_bytes(b"left over")
    settings = (home / "node.json").read_text().replace('"data": null', '"data": "units.csv"')
    (home / "node.json").write_text(settings)
    Running(home).ended()
    assert not (home / "join.invitation").exists()
