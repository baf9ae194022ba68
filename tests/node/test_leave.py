"""Leaving: the federation is told, the keys go, the journal and the receipts stay, and the home is used no more."""

import signal

import pytest
from tests.node.commands import joined, member, ran, refused
from tests.node.front_desk import SITE
from tests.node.relay_rounds import Refused
from tests.node.terminal import on_a_terminal

from crimson_node.commands import main
from crimson_node.enrolment import patience
from crimson_node.enrolment.standing import EnrolmentFiles, Standing
from crimson_node.journal import Journal, read_journal
from crimson_node.outcome import BAD_INPUT, OK, TIMED_OUT
from crimson_node.seen import PolicySeen
from crimson_protocol.enrolment import open_leave

KILLED = -signal.SIGKILL
REMOVED = ("encryption.pem", "rotation.request", "identity.pem")
POINTS = ["leave.request:before", "leave.request:after", "posted:before", "posted:after", "left.cbor:before"]
LATE = ["left.cbor:after", *(f"no-{name}:{when}" for name in REMOVED for when in ("before", "after"))]


@pytest.fixture
def settled(desk, home, capsys):
    """The home of a member with a journal, a receipt, and a rotation under way."""
    member(capsys, desk, home)
    assert ran(capsys, "key", "rotate", "--home", home)[0] == OK
    journal = Journal(home / "journal")
    journal.append(PolicySeen(1, bytes(32)), 1)
    journal.close()
    (home / "receipts").mkdir(mode=0o700)
    (home / "receipts" / "model-1.cbor").write_bytes(b"receipt")
    return home


def test_a_site_that_leaves_keeps_its_journal_and_loses_its_keys(desk, settled, capsys):
    code, envelope = ran(capsys, "leave", "--home", settled, "--yes", SITE)
    assert (code, envelope["data"]["kept"]) == (OK, ["journal", "receipts"])
    assert open_leave(desk.farewells[SITE]).node == SITE
    assert not (settled / "keys").exists()
    assert not list(settled.rglob("*.pem")) or [path.name for path in settled.rglob("*.pem")] == ["ca.pem"]
    assert len(read_journal(settled / "journal").entries) == 1
    assert (settled / "receipts" / "model-1.cbor").read_bytes() == b"receipt"
    assert EnrolmentFiles(settled).standing() is Standing.LEFT
    code, envelope = ran(capsys, "status", "--home", settled)
    shown = envelope["data"]["enrolment"]
    assert (code, shown["standing"], shown["fingerprint"]) == (OK, "left", None)
    assert main(["status", "--home", str(settled)]) == OK
    assert "left the federation" in capsys.readouterr().out


def test_a_home_that_was_left_is_used_no_more(desk, settled, capsys):
    assert ran(capsys, "leave", "--home", settled, "--yes", SITE)[0] == OK
    assert refused(capsys, "run", "--home", settled) == (BAD_INPUT, "home-left")
    assert refused(capsys, "key", "rotate", "--home", settled) == (BAD_INPUT, "home-left")
    assert refused(capsys, "join", "--token-file", desk.token_file(), "--home", settled) == (
        BAD_INPUT,
        "home-left",
    )
    # Asked for again, leaving is done and says so.
    assert ran(capsys, "leave", "--home", settled, "--yes", SITE)[0] == OK


def test_leaving_needs_the_sites_own_name(desk, settled, capsys):
    assert refused(capsys, "leave", "--home", settled) == (BAD_INPUT, "leave-not-confirmed")
    assert refused(capsys, "leave", "--home", settled, "--yes", "site-1") == (
        BAD_INPUT,
        "leave-not-confirmed",
    )
    assert not desk.farewells
    assert (settled / "keys" / "identity.pem").exists()


def test_on_a_terminal_the_name_is_asked_for(desk, settled):
    code, seen = on_a_terminal("yes", "node", "leave", "--home", settled)
    assert (code, "leave-not-confirmed" in seen, desk.farewells) == (BAD_INPUT, True, {})
    code, _ = on_a_terminal(SITE, "node", "leave", "--home", settled)
    assert (code, (settled / "keys").exists()) == (OK, False)


def test_a_site_does_not_leave_while_its_agent_runs(desk, settled, capsys):
    with EnrolmentFiles(settled).home.lock():
        assert refused(capsys, "leave", "--home", settled, "--yes", SITE) == (BAD_INPUT, "home-in-use")
    assert not desk.farewells
    assert (settled / "keys" / "identity.pem").exists()


def test_a_site_does_not_lose_its_keys_before_the_gateway_heard(desk, settled, capsys, monkeypatch):
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.0)
    desk.fail = [Refused(503, "busy")]
    assert refused(capsys, "leave", "--home", settled, "--yes", SITE)[0] == TIMED_OUT
    assert (settled / "keys" / "identity.pem").exists()
    assert EnrolmentFiles(settled).standing() is Standing.MEMBER


def test_only_a_member_leaves(desk, home, capsys):
    joined(capsys, desk, home)
    assert refused(capsys, "leave", "--home", home, "--yes", SITE) == (BAD_INPUT, "not-a-member")


@pytest.mark.parametrize("point", POINTS + LATE)
def test_a_killed_farewell_is_ended_by_the_same_command(desk, settled, capsys, victims, point):
    argv = ("leave", "--home", settled, "--yes", SITE)
    assert victims.run(point, *argv) == KILLED
    left = EnrolmentFiles(settled).standing() is Standing.LEFT
    assert left == (point in LATE)
    # Whoever has not been heard can still say it: the identity key goes last.
    assert left or (settled / "keys" / "identity.pem").exists()
    assert ran(capsys, *argv)[0] == OK
    assert not (settled / "keys").exists()
    assert len({post.body for post in desk.asked_for("/v1/enrolments/leave")}) == 1
    assert open_leave((settled / "left.cbor").read_bytes()).node == SITE
