"""Joining: a token in, keys made here, a verified policy, one signed request, and words to read over the phone."""

import io
import json
import stat
import subprocess
import time

from tests.node.commands import joined, member, ran, refused
from tests.node.front_desk import SITE
from tests.node.relay_rounds import Refused
from tests.node.terminal import CRIMSON, on_a_terminal

from crimson_node.commands import main
from crimson_node.enrolment import patience, waiting
from crimson_node.enrolment.key_files import read_keys
from crimson_node.enrolment.standing import EnrolmentFiles, Standing
from crimson_node.outcome import BAD_INPUT, CONNECTION, FAILED, INTERRUPTED, OK, TIMED_OUT
from crimson_protocol.enrolment import open_join
from crimson_protocol.words import fingerprint


def test_a_site_joins_with_one_command(desk, home, capsys, tmp_path):
    rows = tmp_path / "units.csv"
    rows.write_text("age\n")
    data = joined(capsys, desk, home, "--data", rows)
    request = desk.asked()
    words = list(fingerprint(request.identity_key, request.encryption_key))
    assert (data["state"], data["approvals"], data["needed"], data["listed"]) == ("requested", 0, 2, False)
    assert (data["fingerprint"], len(words)) == (words, 10)
    keys = read_keys(home / "keys")
    assert (keys.identity.public, keys.encryption.public) == (request.identity_key, request.encryption_key)
    settings = json.loads((home / "node.json").read_text())
    assert settings["data"] == str(rows)
    assert (settings["node"], settings["federation"]) == (SITE, "federation")
    assert (settings["gateway"], settings["ca_file"]) == (desk.server.url, "ca.pem")
    assert (home / "root.json").read_bytes() == desk.government.roots[0]
    assert EnrolmentFiles(home).standing() is Standing.REQUESTED
    for path in (home, *home.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_hands_on_time_of_a_join(desk, home):
    token, started = desk.token_file(), time.monotonic()
    command = [CRIMSON, "node", "join", "--token-file", token, "--home", home]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    seconds = time.monotonic() - started
    assert (done.returncode, done.stderr) == (OK, "")
    words = fingerprint(desk.asked().identity_key, desk.asked().encryption_key)
    assert all(word in done.stdout for word in words)
    assert f"crimson node run --home {home}" in done.stdout
    print(
        f"\nhands-on time, from the command's start to its end after the request was posted: {seconds:.2f} s"
    )
    assert seconds < 60


def test_a_join_that_is_run_again_sends_the_same_bytes(desk, home, capsys):
    token = desk.token_file()
    first = ran(capsys, "join", "--token-file", token, "--home", home)
    again = ran(capsys, "join", "--token-file", token, "--home", home)
    first[1]["data"].pop("seconds")
    again[1]["data"].pop("seconds")
    assert first == again
    posts = desk.asked_for("/v1/enrolments")
    assert (len(posts), len({post.body for post in posts})) == (2, 1)


def test_the_token_comes_by_stdin_or_by_a_variable(desk, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(desk.invite(node="by-stdin").encode())))
    code, _ = ran(capsys, "join", "--token-file", "-", "--home", tmp_path / "a")
    assert code == OK
    for place, name in enumerate(("CRIMSON_JOIN_TOKEN_FILE", "FL_JOIN_TOKEN_FILE")):
        monkeypatch.setenv(name, str(desk.token_file(node=f"by-variable-{place}")))
        code, envelope = ran(capsys, "join", "--home", tmp_path / name)
        assert (code, envelope["data"]["node"]) == (OK, f"by-variable-{place}")
        monkeypatch.delenv(name)


def test_line_breaks_that_a_mail_program_put_into_a_token_do_no_harm(desk, home, capsys):
    token = desk.token_file()
    text = token.read_text()
    token.write_text("\r\n".join(text[at : at + 76] for at in range(0, len(text), 76)))
    assert ran(capsys, "join", "--token-file", token, "--home", home)[0] == OK


def test_a_token_that_others_can_read_is_warned_of(desk, home, capsys):
    token = desk.token_file()
    token.chmod(0o644)
    code, envelope = ran(capsys, "join", "--token-file", token, "--home", home)
    assert (code, len(envelope["warnings"])) == (OK, 1)


def test_without_a_token_nothing_happens(home, capsys):
    assert refused(capsys, "join", "--home", home) == (BAD_INPUT, "no-join")
    assert refused(capsys, "join", "--token-file", home / "nowhere", "--home", home) == (BAD_INPUT, "file")
    assert not home.exists()


def test_status_shows_a_joining_sites_words_and_approvals(desk, home, capsys):
    data = joined(capsys, desk, home)
    desk.tell("requested", 1)
    code, envelope = ran(capsys, "status", "--home", home)
    shown = envelope["data"]["enrolment"]
    assert (code, shown["state"], shown["approvals"], shown["needed"]) == (OK, "requested", 1, 2)
    assert shown["fingerprint"] == data["fingerprint"]
    assert main(["status", "--home", str(home)]) == OK
    text = capsys.readouterr().out
    assert "requested: 1 of 2 operators" in text
    assert data["fingerprint"][-1] in text


def test_status_without_the_gateway_says_so_and_shows_the_words(desk, home, capsys):
    data = joined(capsys, desk, home)
    desk.fail = [Refused(503, "busy")]
    code, envelope = ran(capsys, "status", "--home", home)
    assert (code, len(envelope["warnings"])) == (OK, 1)
    assert envelope["data"]["enrolment"]["state"] is None
    assert envelope["data"]["enrolment"]["fingerprint"] == data["fingerprint"]


def test_a_listed_site_is_a_member_and_keeps_nothing_of_the_joining(desk, home, capsys):
    member(capsys, desk, home)
    assert EnrolmentFiles(home).standing() is Standing.MEMBER
    assert not [path for path in home.iterdir() if path.name.startswith("join.")]
    code, envelope = ran(capsys, "status", "--home", home)
    assert (code, envelope["data"]["enrolment"]["standing"]) == (OK, "member")
    assert len(envelope["data"]["enrolment"]["fingerprint"]) == 10


def test_joining_again_as_a_member_changes_nothing(desk, home, capsys):
    member(capsys, desk, home)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    code, envelope = ran(capsys, "join", "--token-file", desk.token_file(), "--home", home)
    assert (code, envelope["data"]["listed"]) == (OK, True)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_a_gateway_that_says_listed_is_not_believed_without_a_policy(desk, home, capsys):
    joined(capsys, desk, home)
    desk.tell("listed")
    code, envelope = ran(capsys, "join", "--home", home)
    assert (code, envelope["data"]["listed"]) == (OK, False)
    assert EnrolmentFiles(home).standing() is Standing.REQUESTED


def test_waiting_ends_with_the_operators_word(desk, home, capsys, monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_PAUSE", 0.05)
    tell = iter(["requested", "requested", "approved"])
    monkeypatch.setattr(desk, "_state", lambda node, told=desk._state: desk.tell(next(tell)) or told(node))
    data = joined(capsys, desk, home, "--wait", "30")
    assert (data["state"], data["listed"], next(tell, None)) == ("approved", False, None)


def test_waiting_in_vain_ends_in_time_and_takes_nothing_back(desk, home, capsys, monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_PAUSE", 0.05)
    code, envelope = ran(capsys, "join", "--token-file", desk.token_file(), "--home", home, "--wait", "0.2")
    assert (code, envelope["error"]["code"]) == (TIMED_OUT, "still-waiting")
    assert len(envelope["data"]["fingerprint"]) == 10
    assert EnrolmentFiles(home).standing() is Standing.REQUESTED


def test_a_site_without_a_network_writes_its_request_to_a_file(desk, home, capsys, tmp_path):
    carried = tmp_path / "request.cbor"
    data = joined(capsys, desk, home, "--request-file", carried)
    assert not desk.requests
    request = open_join(carried.read_bytes(), desk._invited[-1].key)
    assert data["fingerprint"] == list(fingerprint(request.identity_key, request.encryption_key))
    assert EnrolmentFiles(home).standing() is Standing.JOINING
    code, envelope = ran(capsys, "status", "--home", home)
    assert (code, envelope["data"]["enrolment"]["standing"]) == (OK, "joining")
    # An operator hands it over, and the governors list the site; then it connects for the first time.
    desk._join(desk._invited[-1], carried.read_bytes())
    desk.list_site()
    code, envelope = ran(capsys, "join", "--home", home)
    assert (code, envelope["data"]["listed"]) == (OK, True)
    assert EnrolmentFiles(home).standing() is Standing.MEMBER


def test_a_gateway_that_is_away_takes_nothing_back(desk, home, capsys, monkeypatch):
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.0)
    token = desk.token_file()
    desk.fail = [Refused(502, "busy")]
    assert refused(capsys, "join", "--token-file", token, "--home", home)[0] == TIMED_OUT
    assert not home.exists()
    desk.server.stop()
    assert refused(capsys, "join", "--token-file", token, "--home", home) == (CONNECTION, "unreachable")
    assert not home.exists()


def test_a_home_without_a_data_file_says_what_to_add_before_it_runs(desk, home, capsys):
    member(capsys, desk, home)
    code, envelope = ran(capsys, "run", "--home", home)
    assert code == BAD_INPUT
    assert '"data": ' in envelope["error"]["hint"]


def test_on_a_terminal_a_person_sees_what_is_joined_and_is_asked(desk, home):
    argv = ("node", "join", "--token-file", desk.token_file(), "--home", home)
    code, seen = on_a_terminal("n", *argv)
    assert (code, home.exists(), desk.requests) == (FAILED, False, [])
    for shown in ("federation", desk.server.url, SITE, "hospital", "declined"):
        assert shown in seen
    code, seen = on_a_terminal("y", *argv)
    assert (code, desk.asked().node) == (OK, SITE)


def test_with_yes_nobody_is_asked(desk, home):
    code, seen = on_a_terminal(
        "n", "node", "join", "--token-file", desk.token_file(), "--home", home, "--no-input"
    )
    assert (code, "Join?" in seen) == (OK, False)


def test_a_person_who_breaks_off_at_the_question_made_nothing(desk, home):
    code, seen = on_a_terminal("\x03", "node", "join", "--token-file", desk.token_file(), "--home", home)
    assert (code, home.exists(), desk.requests) == (INTERRUPTED, False, [])
    assert "Traceback" not in seen
