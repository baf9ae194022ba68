"""Operators' commands against a real gateway: what they do, what they refuse, and what they never show."""

import json
import os
import pty
import select
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.gateway.federation import Federation, Together, crimson
from tests.gateway.operators import STAFF
from tests.gateway.sites import Member, Site
from tests.playground import MODEL

from crimson_gateway.tls import ensure_certificate
from crimson_protocol.enrolment import EnrolmentState, open_join, read_token
from crimson_protocol.secret.key_files import to_pem
from crimson_protocol.secret.keys import IdentityKey

INVITE = ("--organisation", "clinic", "--kind", "hospital")


class Desk:
    """An operator's terminal: each command is a process of its own."""

    def __init__(self, federation: Federation, folder: Path) -> None:
        self.federation, self.folder = federation, folder

    def run(self, *words: str, key: Path | None = None, url: str | None = None, ca: Path | None = None):
        """A command to its end."""
        where = ["--home", str(self.federation.home), "--url", url or self.federation.url]
        where += ["--key", str(key)] if key else []
        where += ["--ca", str(ca)] if ca else []
        return crimson("gateway", *words, *where)

    def data(self, *words: str, **options: object) -> dict[str, object]:
        """What a command found."""
        done = self.run(*words, "--json", **options)
        assert done.returncode == 0, done.stdout + done.stderr
        envelope = json.loads(done.stdout)
        assert envelope["ok"] and envelope["error"] is None
        return envelope["data"]

    def failure(self, *words: str, code: int, **options: object) -> dict[str, str]:
        """How a command failed, the same with and without --json."""
        done = self.run(*words, "--json", **options)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        envelope = json.loads(done.stdout)
        assert not envelope["ok"] and envelope["error"]["hint"]
        return envelope["error"]

    def key(self, key: IdentityKey) -> Path:
        """An operator's key as a file."""
        path = self.folder / f"{os.urandom(4).hex()}.pem"
        path.write_bytes(to_pem(key))
        return path

    def invited(self, node: str | None = None) -> tuple[Site, str]:
        """A site that was invited with the command, and its token."""
        node = node or f"site-{os.urandom(4).hex()}"
        out = self.folder / f"{node}.token"
        self.data("invite", node, *INVITE, "--out", str(out))
        text = out.read_text()
        invitation, token = read_token(text)
        site = Site(self.federation, node)
        site.invitation, site.invitation_key = invitation, IdentityKey(token.seed)
        return site, text


@pytest.fixture
def desk(enrolling, tmp_path) -> Desk:
    return Desk(enrolling, tmp_path)


def test_a_site_joins_with_the_token_that_the_command_made(enrolling, desk):
    site, text = desk.invited()
    assert site.join().status_code == 201
    invitation, _ = read_token(text)
    assert invitation.policy_digest == enrolling.parties.policy.digest()
    assert invitation.gateway.startswith("https://") and invitation.issuer == "operator"
    pem = (enrolling.home / "tls/ca.pem").read_text()
    assert invitation.authority is not None and len(invitation.authority) < 2048 and "BEGIN" in pem
    path = desk.folder / f"{site.node}.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = desk.failure("invite", site.node, *INVITE, "--out", str(path), code=4)
    assert "written over" in again["hint"] and path.read_text() == text


def test_the_gateway_never_sees_the_seed(enrolling, desk):
    _, text = desk.invited()
    _, token = read_token(text)
    for path in enrolling.home.rglob("*"):
        if path.is_file():
            assert token.seed not in path.read_bytes(), path
    assert token.seed.hex() not in (enrolling.folder / "gateway.log").read_text()


def test_a_token_goes_to_standard_output_alone(desk):
    done = desk.run("invite", f"site-{os.urandom(4).hex()}", *INVITE, "--out", "-")
    assert done.returncode == 0
    invitation, _ = read_token(done.stdout)
    assert done.stdout.strip() not in done.stderr and invitation.node in done.stderr
    data = desk.data("invite", f"site-{os.urandom(4).hex()}", *INVITE, "--out", "-")
    assert read_token(data["token"])[0].node == data["node"]


def test_an_invitation_that_is_refused_leaves_no_token(enrolling, desk):
    out = desk.folder / "none.token"
    bank = ("--organisation", "clinic", "--kind", "blood_bank")
    failure = desk.failure("invite", "bank", *bank, "--out", str(out), code=5)
    assert failure["code"] == "join-not-permitted" and not out.exists()
    too_long = desk.failure("invite", "clinic", *INVITE, "--hours", "48", "--out", str(out), code=4)
    assert too_long["code"] == "invitation-differs" and not out.exists()
    assert desk.failure("invite", "site-0", *INVITE, "--out", str(out), code=5)["code"] == "node-listed"


def test_invitations_are_listed_and_taken_back(desk):
    site, _ = desk.invited()
    listed = {row["id"]: row["state"] for row in desk.data("invite", "--list")["invitations"]}
    digest = site.invitation.digest().hex()
    assert listed[digest] == "open"
    desk.data("invite", "--revoke", digest)
    assert site.join().json()["code"] == "invitation-revoked"
    shown = desk.run("invite", "--list")
    assert shown.returncode == 0 and site.node in shown.stdout and "revoked" in shown.stdout
    assert desk.failure("invite", "--revoke", "0" * 64, code=4)["code"] == "unknown-invitation"
    assert desk.failure("invite", "--revoke", "0f", code=4)["code"] == "bad-setting"


@pytest.mark.parametrize(
    "words",
    [
        ("invite",),
        ("invite", "site"),
        ("invite", "site", "--organisation", "clinic", "--kind", "castle", "--out", "-"),
        ("invite", "x" * 65, *INVITE, "--out", "-"),
        ("invite", "site", *INVITE, "--hours", "200", "--out", "-"),
        ("invite", "site", *INVITE, "--out", "-", "--anchor", "12"),
    ],
)
def test_an_invitation_with_something_missing_or_wrong_is_bad_input(desk, words):
    assert desk.failure(*words, code=4)


def test_a_gateway_that_serves_another_root_is_found_out(desk):
    """Whoever was invited there would trust somebody else's federation."""
    failure = desk.failure("invite", "site", *INVITE, "--out", "-", "--anchor", "00" * 32, code=9)
    assert failure["code"] == "another-root"


def test_a_root_that_nobody_pinned_is_said_so(enrolling, desk, tmp_path):
    done = crimson(
        "gateway", "invite", f"site-{os.urandom(4).hex()}", *INVITE, "--out", "-", "--json",
        "--home", str(tmp_path / "elsewhere"), "--url", enrolling.url, "--ca", str(enrolling.authority),
        "--key", str(enrolling.home / "keys/operator.pem"),
    )  # fmt: skip
    envelope = json.loads(done.stdout)
    assert done.returncode == 0 and "compare" in envelope["warnings"][0]


def test_a_request_is_approved_by_two_operators_and_written_for_the_governors(desk):
    site, _ = desk.invited()
    body = site.request()
    assert site.join(body).status_code == 201
    words = desk.folder / "words.txt"
    words.write_text(site.words + "\n")
    first = desk.data("approve", site.node, "--fingerprint-file", str(words))
    assert (first["state"], first["approvals"]) == ("requested", ["operator"])
    out = desk.folder / "site.request"
    options = ("--fingerprint", site.words, "--out", str(out))
    second = desk.data("approve", site.node, *options, key=desk.key(STAFF[0]))
    assert second["state"] == "approved" and out.read_bytes() == body
    assert open_join(out.read_bytes(), site.invitation_key.public).node == site.node
    listed = desk.data("nodes")
    asked = {row["node"]: row for row in listed["enrolments"]}[site.node]
    assert (asked["state"], asked["approvals"], asked["needed"]) == (
        "approved",
        ["operator", "operator-0"],
        2,
    )
    shown = desk.run("nodes").stdout
    assert site.node in shown and "2 of 2" in shown


def test_a_wrong_fingerprint_is_refused_whatever_the_gateway_says(enrolling, desk):
    site, _ = desk.invited()
    site.join()
    other = Site(enrolling, site.node)
    failure = desk.failure("approve", site.node, "--fingerprint", other.words, code=9)
    assert failure["code"] == "fingerprint-differs" and site.state().approvals == 0


def test_a_carried_request_is_handed_in_and_approved(enrolling, desk):
    site, _ = desk.invited()
    file = desk.folder / "carried.request"
    file.write_bytes(site.request())
    options = ("--request", str(file), "--fingerprint", site.words)
    assert desk.data("approve", site.node, *options)["approvals"] == ["operator"]
    assert desk.data("approve", site.node, *options, key=desk.key(STAFF[1]))["state"] == "approved"
    state = EnrolmentState.from_bytes(site.client().ask("GET", "/v1/enrolments/self").content, 4096)
    assert state.state == "approved"
    assert desk.failure("approve", "another", *options, code=4)["code"] == "bad-setting"


def test_a_carried_file_that_was_edited_is_refused(desk):
    site, _ = desk.invited()
    file = desk.folder / "edited.request"
    raw = bytearray(site.request())
    raw[60] ^= 1
    file.write_bytes(raw)
    options = ("--request", str(file), "--fingerprint", site.words)
    assert desk.failure("approve", site.node, *options, code=9)["code"] == "bad-signature"
    assert site.client().ask("GET", "/v1/enrolments/self").json()["code"] == "unknown-enrolment"
    for data in (b"", b"crimson", bytes(1 << 15), site.request()[:-1]):
        file.write_bytes(data)
        assert desk.failure("approve", site.node, *options, code=4)["code"] == "bad-setting"


def test_an_operator_on_a_terminal_is_asked_for_the_words(enrolling, desk):
    site, _ = desk.invited()
    site.join()
    code = "import sys; from crimson_protocol.launcher import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "gateway", "approve", site.node]
    command += ["--home", str(enrolling.home), "--url", enrolling.url]
    here, there = pty.openpty()
    process = subprocess.Popen(command, stdin=there, stdout=there, stderr=there, close_fds=True)
    os.close(there)
    shown = _read_until(here, b"words", 30)
    assert site.words.encode() not in shown, "what the site must say is never shown first"
    os.write(here, site.words.encode() + b"\n")
    assert process.wait(30) == 0
    os.close(here)
    assert site.state().approvals == 1


def _read_until(descriptor: int, mark: bytes, seconds: float) -> bytes:
    shown, end = b"", time.monotonic() + seconds
    while mark not in shown.split(b"type what you hear")[-1] or b"type what" not in shown:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        assert ready, shown
        shown += os.read(descriptor, 4096)
    return shown


def test_without_a_terminal_the_words_must_be_given(desk):
    site, _ = desk.invited()
    site.join()
    assert desk.failure("approve", site.node, code=4)["code"] == "bad-setting"


def test_a_node_is_suspended_resumed_and_revoked(enrolling, desk):
    member = Member(enrolling, 2)
    client = member.client(member.current)
    desk.data("suspend", member.node, "--reason", "its machine is being rebuilt")
    assert client.ask("GET", "/v1/policy").json()["code"] == "node-suspended"
    listed = {row["node"]: row for row in desk.data("nodes")["nodes"]}[member.node]
    assert (listed["held"], listed["reason"]) == ("suspended", "its machine is being rebuilt")
    assert "suspended: its machine" in desk.run("nodes").stdout
    desk.data("suspend", member.node, "--lift")
    assert client.ask("GET", "/v1/policy").status_code == 200
    done = desk.run("revoke", member.node, "--reason", "[bold]its key was stolen[/]")
    assert done.returncode == 0 and "governors" in done.stderr
    assert client.ask("GET", "/v1/policy").json()["code"] == "node-revoked"
    assert member.state(member.current).reason == "[bold]its key was stolen[/]"
    assert "[bold]" in desk.run("nodes").stdout, "what others wrote is not read as markup"
    assert desk.failure("suspend", member.node, "--lift", code=5)["code"] == "node-revoked"
    assert desk.failure("suspend", "nobody", "--reason", "x", code=4)["code"] == "unknown-node"
    assert desk.failure("suspend", member.node, code=4)["code"] == "bad-setting"


def test_a_stranger_and_a_node_are_told_that_their_key_is_none(enrolling, desk):
    stranger = desk.key(IdentityKey.fresh(os.urandom))
    assert desk.failure("nodes", code=2, key=stranger)["code"] == "bad-signature"
    node = desk.key(enrolling.parties.identities[1])
    assert desk.failure("nodes", code=2, key=node)["code"] == "not-permitted"
    assert desk.failure("invite", "site", *INVITE, "--out", "-", code=4, key=node)["code"] == "bad-setting"


def test_a_gateway_that_is_away_or_not_trusted_is_told_apart(enrolling, desk, tmp_path):
    assert desk.failure("nodes", code=2, url="https://127.0.0.1:9")["code"] == "gateway-unreachable"
    ensure_certificate(tmp_path / "foreign", ("127.0.0.1",))
    foreign = tmp_path / "foreign" / "tls" / "ca.pem"
    assert desk.failure("nodes", code=2, ca=foreign)["code"] == "gateway-not-trusted"
    assert desk.failure("nodes", code=4, url="http://127.0.0.1:9")["code"] == "bad-setting"
    metrics = enrolling.metrics.replace("http://", "https://")
    assert desk.failure("nodes", code=2, url=metrics)["code"] == "gateway-unreachable"


def test_outside_of_a_gateways_home_the_options_are_named(tmp_path):
    done = crimson("gateway", "nodes", "--home", str(tmp_path / "nothing"), "--json")
    assert done.returncode == 4 and "--url" in json.loads(done.stdout)["error"]["hint"]
    key = tmp_path / "key.pem"
    key.write_text("nothing")
    options = ("--url", "https://127.0.0.1:9", "--key", str(key))
    done = crimson("gateway", "nodes", "--home", str(tmp_path / "nothing"), *options, "--json")
    assert done.returncode == 4 and "private key" in json.loads(done.stdout)["error"]["message"]


def test_rounds_are_started_followed_and_shown(federate, tmp_path):
    federation = federate(5)
    desk = Desk(federation, tmp_path)
    together = Together(federation.hospitals())
    done = desk.run("rounds", "start", MODEL, "--wait")
    assert done.returncode == 0, done.stderr
    assert "released" in done.stdout and "waits for" in done.stderr + done.stdout
    assert set(together.join().values()) == {"released"}
    found = desk.data("rounds", "status")["rounds"]
    assert [view["state"] for view in found] == ["released"]
    one = desk.data("rounds", "status", str(found[0]["id"]))
    assert one == found[0] and MODEL in desk.run("rounds", "status").stdout
    assert desk.data("rounds", "watch")["state"] == "released"
    assert desk.run("rounds", "watch", str(one["id"])).returncode == 0


def test_a_round_that_is_not_released_ends_with_one(federate, tmp_path):
    federation = federate(5, gather_seconds=1)
    desk = Desk(federation, tmp_path)
    failure = desk.failure("rounds", "start", MODEL, "--count", "3", "--wait", code=1)
    assert failure["code"] == "round-not-released" and "cohort-too-small" in failure["message"]
    assert len(desk.data("rounds", "status")["rounds"]) == 1, "no round follows one that was lost"
    done = desk.run("rounds", "watch")
    assert done.returncode == 1 and "round-not-released" in done.stderr


def test_watching_survives_a_restart_of_the_gateway(federate, tmp_path):
    federation = federate(5)
    desk = Desk(federation, tmp_path)
    started = desk.data("rounds", "start", MODEL)["rounds"][0]
    code = "import sys; from crimson_protocol.launcher import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "gateway", "rounds", "watch", str(started["id"])]
    command += ["--home", str(federation.home), "--url", federation.url]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "gathering" in watching.stderr.readline()
    federation.kill()
    time.sleep(1)
    federation.start()
    together = Together(federation.hospitals())
    out, err = watching.communicate(timeout=60)
    assert watching.returncode == 0 and "released" in out, err
    together.join()


def test_several_rounds_and_unknown_ones(enrolling, desk):
    started = desk.data("rounds", "start", MODEL, "--count", "3")["rounds"]
    assert len({view["id"] for view in started}) == 3
    assert desk.failure("rounds", "start", "none", code=4)["code"] == "unknown-model"
    assert desk.failure("rounds", "status", "99999", code=4)["code"] == "unknown-round"
    assert desk.failure("rounds", "watch", "99999", code=4)["code"] == "unknown-round"
