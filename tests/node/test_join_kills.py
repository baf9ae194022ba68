"""Joins killed with SIGKILL between any two steps: nothing is half joined, and the same command ends the join."""

import signal

import pytest
from tests.node.commands import ran

from crimson_node.enrolment.key_files import read_keys
from crimson_node.enrolment.standing import EnrolmentFiles, Standing
from crimson_node.outcome import OK, REFUSED_BY_POLICY

KILLED = -signal.SIGKILL
WRITTEN = (
    "join.invitation",
    "invitation.pem",
    "identity.pem",
    "encryption.pem",
    "join.request",
    "ca.pem",
    "root.json",
    "trust.cbor",
)
BEFORE_THE_REQUEST = [f"{name}:{when}" for name in WRITTEN for when in ("before", "after")] + [
    "posted:before"
]
WITH_THE_REQUEST = ["posted:after", "node.json:before", "node.json:after"]
REMOVED = ("join.request", "keys", "trust.cbor", "root.json", "ca.pem", "join.invitation")
UNDONE = [f"no-{name}:{when}" for name in REMOVED for when in ("before", "after")]
SETTLED = [f"no-join.request:{when}" for when in ("before", "after")]


@pytest.mark.parametrize("point", BEFORE_THE_REQUEST + WITH_THE_REQUEST)
def test_a_killed_join_is_not_half_a_join_and_is_ended_by_the_same_command(
    desk, home, capsys, victims, point
):
    argv = ("join", "--token-file", desk.token_file(), "--home", home)
    assert victims.run(point, *argv) == KILLED
    files = EnrolmentFiles(home)
    asked = bool(desk.asked_for("/v1/enrolments"))
    assert asked == (point in WITH_THE_REQUEST)
    # `node.json` makes a home: it is the last file, and comes after the gateway took the request.
    assert (home / "node.json").exists() == (point == "node.json:after")
    if point == "join.invitation:before":
        assert files.standing() is Standing.EMPTY
    else:
        assert files.standing() in (Standing.JOINING, Standing.REQUESTED)
    kept = read_keys(home / "keys")
    request = files.request.read_bytes() if files.request.exists() else None
    assert ran(capsys, *argv)[0] == OK
    assert files.standing() is Standing.REQUESTED
    if kept is not None:
        assert read_keys(home / "keys").identity.public == kept.identity.public
    assert request in (None, files.request.read_bytes())
    assert {post.body for post in desk.asked_for("/v1/enrolments")} == {files.request.read_bytes()}
    assert not list(home.rglob("*.new"))


@pytest.mark.parametrize("point", UNDONE)
def test_a_refused_join_that_is_killed_while_it_is_taken_back_leaves_nothing_in_the_end(
    desk, home, capsys, victims, point
):
    token = desk.token_file()
    assert victims.run("none", "join", "--token-file", token, "--home", home.with_name("first")) == OK
    argv = ("join", "--token-file", token, "--home", home)
    assert victims.run(point, *argv) == KILLED
    assert not (home / "node.json").exists()
    code, envelope = ran(capsys, *argv)
    assert (code, envelope["error"]["code"]) == (REFUSED_BY_POLICY, "invitation-used")
    assert [path.name for path in home.iterdir()] == ["lock"]


@pytest.mark.parametrize("point", SETTLED)
def test_a_kill_while_the_joining_ends_changes_nothing(desk, home, capsys, victims, point):
    assert ran(capsys, "join", "--token-file", desk.token_file(), "--home", home)[0] == OK
    desk.list_site()
    assert victims.run(point, "join", "--home", home) == KILLED
    kept = read_keys(home / "keys").identity.public
    code, envelope = ran(capsys, "join", "--home", home)
    assert (code, envelope["data"]["listed"]) == (OK, True)
    assert EnrolmentFiles(home).standing() is Standing.MEMBER
    assert read_keys(home / "keys").identity.public == kept
