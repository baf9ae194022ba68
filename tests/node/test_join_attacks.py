"""Joining under attack: tokens that were edited, stolen or are over, gateways that lie, homes that are taken.

A join that is refused leaves no key behind, and sends no request where the reason is known before.
"""

import json
import os
import subprocess
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from tests.node.commands import joined, member, ran, refused
from tests.node.federation import DISTANT
from tests.node.relay_rounds import Refused
from tests.playground import FOUNDED, government_of

from crimson_governance.in_process import Government
from crimson_node.commands import main
from crimson_node.enrolment.key_files import read_keys
from crimson_node.enrolment.standing import EnrolmentFiles, Standing
from crimson_node.outcome import BAD_INPUT, CONNECTION, INTEGRITY_FAILED, OK, REFUSED_BY_POLICY
from crimson_protocol.enrolment import PREFIX, read_token, token_text
from crimson_protocol.policy.access import AccessRules
from crimson_protocol.policy.bundle import MAX_BUNDLE
from crimson_protocol.policy.document import EnrolmentRules
from crimson_protocol.secret.keys import DualKey

CRIMSON = Path(sys.executable).with_name("crimson")


def left_behind(home: Path) -> set[str]:
    """Files of a home, but for its lock."""
    return {path.name for path in home.rglob("*") if path.is_file()} - {"lock"}


def join_with(capsys, home: Path, folder: Path, text: str) -> tuple[int, str]:
    """How a join with this text as its token is refused."""
    path = folder / "given.token"
    path.write_text(text)
    path.chmod(0o600)
    return refused(capsys, "join", "--token-file", path, "--home", home)


# The token.


def edits(token: str) -> dict[str, str]:
    """Tokens that somebody changed or cut on the way."""
    prefix, middle, checksum = token.split(".")
    raw = bytearray(urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    raw[20] ^= 1
    flipped = urlsafe_b64encode(raw).decode().rstrip("=")
    return {
        "one bit of the middle": f"{prefix}.{flipped}.{checksum}",
        "last letter lost": token[:-1],
        "last part lost": f"{prefix}.{middle}",
        "another version": f"{prefix[:-1]}9.{middle}.{checksum}",
        "a letter that no token has": f"{token[:60]}!{token[60:]}",
        "twice": token + token,
        "empty": "",
        "something else": "dear hospital, welcome to the federation",
        "not text": "\x00\xff\u2028",
        "endless": "a" * (1 << 20),
    }


def test_an_edited_token_or_garbage_is_refused_before_anything_is_made(desk, home, capsys):
    for name, text in edits(desk.invite()).items():
        assert join_with(capsys, home, desk.folder, text) == (BAD_INPUT, "bad-token"), name
    assert not home.exists()
    assert not desk.requests


def test_an_error_about_a_token_does_not_repeat_it(desk, home, capsys):
    token = desk.invite()
    for text in edits(token).values():
        join_with(capsys, home, desk.folder, text)
        path = desk.folder / "given.token"
        assert main(["join", "--token-file", str(path), "--home", str(home)]) == BAD_INPUT
        shown = "".join(capsys.readouterr())
        assert token.split(".")[1][:40] not in shown


@pytest.mark.parametrize("changes", [{"node": "another-hospital"}, {"kind": "blood_bank"}, {"issuer": "eve"}])
def test_a_token_edited_with_its_checksum_made_anew_is_refused_and_leaves_no_home(
    desk, home, capsys, changes
):
    """Whoever relays the token cannot put another site into it: the gateway knows the invitation by its digest."""
    invitation, token = read_token(desk.invite())
    forged = replace(token, invitation=replace(invitation, **changes).to_bytes())
    assert join_with(capsys, home, desk.folder, token_text(forged)) == (
        REFUSED_BY_POLICY,
        "unknown-invitation",
    )
    assert not left_behind(home)


def test_a_token_with_a_plain_http_gateway_is_refused(desk, home, capsys):
    text = desk.invite(gateway="http://127.0.0.1:80")
    assert join_with(capsys, home, desk.folder, text) == (BAD_INPUT, "bad-token")


def test_a_token_with_a_broken_certificate_authority_is_refused(desk, home, capsys):
    text = desk.invite(authority=b"no certificate")
    assert join_with(capsys, home, desk.folder, text) == (BAD_INPUT, "bad-token")
    assert not home.exists()


def test_an_expired_token_is_refused_before_a_key_is_made(desk, home, capsys):
    token = desk.token_file(expires=int(time.time()) - 1)
    assert refused(capsys, "join", "--token-file", token, "--home", home) == (
        REFUSED_BY_POLICY,
        "invitation-expired",
    )
    assert not home.exists()
    assert not desk.requests


def test_a_token_that_expires_on_the_way_leaves_no_home(desk, home, capsys, monkeypatch):
    token = desk.token_file()
    desk.server.clock = time.time
    desk.clock = lambda: time.time() + 7200
    assert refused(capsys, "join", "--token-file", token, "--home", home) == (
        REFUSED_BY_POLICY,
        "invitation-expired",
    )
    assert not left_behind(home)


def test_a_replayed_token_is_refused_and_its_second_user_is_left_without_keys(desk, home, capsys, tmp_path):
    token = desk.token_file()
    assert ran(capsys, "join", "--token-file", token, "--home", home)[0] == OK
    thief = tmp_path / "thief"
    assert refused(capsys, "join", "--token-file", token, "--home", thief) == (
        REFUSED_BY_POLICY,
        "invitation-used",
    )
    assert not left_behind(thief)
    assert EnrolmentFiles(home).standing() is Standing.REQUESTED


def test_a_stolen_tokens_second_user_is_not_told_of_the_first_ones_request(desk, home, capsys, tmp_path):
    """Cut off before, and back with a request of its own: what became of the other site's is not its answer."""
    token, thief = desk.token_file(), tmp_path / "thief"
    assert (
        ran(capsys, "join", "--token-file", token, "--home", thief, "--request-file", tmp_path / "r")[0] == OK
    )
    assert ran(capsys, "join", "--token-file", token, "--home", home)[0] == OK
    assert refused(capsys, "join", "--token-file", token, "--home", thief) == (
        REFUSED_BY_POLICY,
        "invitation-used",
    )
    assert not left_behind(thief)


def test_a_revoked_token_is_refused_and_leaves_no_home(desk, home, capsys):
    token = desk.token_file()
    desk.revoke()
    assert refused(capsys, "join", "--token-file", token, "--home", home) == (
        REFUSED_BY_POLICY,
        "invitation-revoked",
    )
    assert not left_behind(home)


@pytest.mark.parametrize("state", ["refused", "revoked", "expired"])
def test_a_request_that_is_over_sets_its_keys_aside(desk, home, capsys, state):
    """Only the gateway's word says that it is over: it may have kept the request, and governors may list the keys."""
    joined(capsys, desk, home)
    asked = desk.asked().identity_key
    desk.tell(state, 0, "the words did not match")
    code, envelope = ran(capsys, "join", "--home", home)
    assert (code, envelope["error"]["code"]) == (REFUSED_BY_POLICY, "join-refused")
    assert "the words did not match" in envelope["error"]["message"]
    assert left_behind(home) == {"identity.pem", "encryption.pem"}
    kept = read_keys(home / "refused-keys")
    assert kept is not None and kept.identity.public == asked
    # With another token the same folder can be used again.
    assert joined(capsys, desk, home)["state"] == "requested"


# The command line.


def test_a_token_on_the_command_line_or_in_a_variable_is_refused_and_not_repeated(
    desk, home, capsys, monkeypatch
):
    text = desk.invite()
    for argv in (["join", text], ["join", "--token-file", text], ["join", "--home", str(home), text]):
        code, envelope = ran(capsys, *argv)
        assert (code, envelope["error"]["code"]) == (BAD_INPUT, "token-in-argv")
        assert PREFIX not in json.dumps(envelope)
    monkeypatch.setenv("CRIMSON_JOIN_TOKEN_FILE", text)
    assert refused(capsys, "join", "--home", home) == (BAD_INPUT, "token-in-argv")
    assert not home.exists()


def test_the_command_line_of_a_running_join_shows_no_token(desk, home):
    token, shown = desk.token_file(), []

    def look(bundle: bytes) -> bytes:
        """While the gateway answers, the joining process can be looked at by everybody."""
        shown.append(Path(f"/proc/{process.pid}/cmdline").read_bytes())
        return bundle

    desk.alter = look
    command = [CRIMSON, "node", "join", "--token-file", token, "--home", home]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, len(shown)) == (OK, 1)
    secret = token.read_text().split(".")[1][:40]
    assert secret not in shown[0].decode()
    assert secret not in out + err


def test_a_proxys_password_on_the_command_line_is_refused_and_not_repeated(desk, home, capsys):
    proxy = "http://site:Secret-71@proxy.example.org:3128"
    code, envelope = ran(capsys, "join", "--token-file", desk.token_file(), "--home", home, "--proxy", proxy)
    assert (code, envelope["error"]["code"]) == (BAD_INPUT, "password-in-argv")
    assert "Secret-71" not in json.dumps(envelope)
    assert not home.exists()


def test_no_secret_of_a_join_reaches_its_output(desk, home, capsys):
    data = joined(capsys, desk, home)
    token = (desk.folder / "join-0.token").read_text()
    files = [
        (home / "keys" / name).read_text() for name in ("identity.pem", "encryption.pem", "invitation.pem")
    ]
    secrets = [token.split(".")[1][:40], *(line for text in files for line in text.splitlines()[1:2])]
    assert not [secret for secret in secrets if secret in json.dumps(data)]


# The federation behind the gateway.


def test_a_foreign_federations_policy_is_refused(desk, home, capsys):
    """Signed by the right governors, but for another federation."""
    token = desk.token_file()
    desk.publish(federation="south")
    assert refused(capsys, "join", "--token-file", token, "--home", home) == (
        REFUSED_BY_POLICY,
        "policy-rejected",
    )
    assert not home.exists()
    assert not desk.asked_for("/v1/enrolments")


def test_a_policy_from_another_first_root_is_refused(desk, home, capsys):
    """A gateway that founded a federation of its own under the same name."""
    governors = Government.found([DualKey.fresh(os.urandom)], DualKey.fresh(os.urandom), FOUNDED)
    desk.bundle = governors.publish(desk.policy, DISTANT).to_bytes()
    assert refused(capsys, "join", "--token-file", desk.token_file(), "--home", home) == (
        REFUSED_BY_POLICY,
        "policy-rejected",
    )
    assert not home.exists()


def test_a_foreign_root_behind_the_right_first_one_is_refused(desk, home, capsys):
    """The right first root, and a second one that its governors never signed."""
    governors = Government.found([DualKey.fresh(os.urandom)], DualKey.fresh(os.urandom), FOUNDED)
    bundle = governors.publish(desk.policy, DISTANT)
    desk.bundle = replace(bundle, roots=(*desk.government.roots, *bundle.roots)).to_bytes()
    assert refused(capsys, "join", "--token-file", desk.token_file(), "--home", home)[0] == INTEGRITY_FAILED
    assert not home.exists()


def test_a_policy_signed_by_too_few_is_refused(desk, home, capsys):
    governor = desk.homes.parties.governor
    known = government_of(governor)
    three = Government.found(
        [governor, DualKey.fresh(os.urandom), DualKey.fresh(os.urandom)], known.publisher, FOUNDED, 2
    )
    desk.use(three)
    token = desk.token_file()
    desk.bundle = replace(three, threshold=1).publish(desk.policy, DISTANT).to_bytes()
    assert refused(capsys, "join", "--token-file", token, "--home", home) == (
        INTEGRITY_FAILED,
        "bad-signature",
    )
    assert not home.exists()
    desk.bundle = three.publish(desk.policy, DISTANT).to_bytes()
    assert ran(capsys, "join", "--token-file", token, "--home", home)[0] == OK


def test_a_policy_older_than_the_invitation_is_refused(desk, home, capsys):
    before = desk.bundle
    desk.publish()
    token = desk.token_file()
    desk.bundle = before
    assert refused(capsys, "join", "--token-file", token, "--home", home) == (
        REFUSED_BY_POLICY,
        "policy-went-back",
    )
    assert not home.exists()


def test_another_policy_under_the_invitations_serial_is_refused(desk, home, capsys):
    token = desk.token_file(policy_digest=bytes(32))
    assert refused(capsys, "join", "--token-file", token, "--home", home) == (
        REFUSED_BY_POLICY,
        "policy-rejected",
    )


def test_an_expired_policy_is_refused(desk, home, capsys):
    desk.bundle = desk.government.publish(desk.policy, int(time.time()) - 10).to_bytes()
    assert refused(capsys, "join", "--token-file", desk.token_file(), "--home", home) == (
        REFUSED_BY_POLICY,
        "expired",
    )


@pytest.mark.parametrize(
    "spoil", [lambda _: b"", lambda data: data[:-1], lambda data: data[:9] + b"\xff" + data[10:]]
)
def test_a_bundle_that_does_not_parse_is_refused(desk, home, capsys, spoil):
    desk.alter = spoil
    code, _ = refused(capsys, "join", "--token-file", desk.token_file(), "--home", home)
    assert code in (INTEGRITY_FAILED, REFUSED_BY_POLICY)
    assert not home.exists()


def test_an_endless_bundle_is_not_read(desk, home, capsys):
    desk.alter = lambda data: bytes(MAX_BUNDLE + 1)
    assert refused(capsys, "join", "--token-file", desk.token_file(), "--home", home) == (
        INTEGRITY_FAILED,
        "answer-too-large",
    )


def test_a_node_of_a_kind_that_the_policy_does_not_enrol_is_refused_with_the_reason(desk, home, capsys):
    desk.publish(enrolment=EnrolmentRules(1, ("hospital",)))
    code, envelope = ran(capsys, "join", "--token-file", desk.token_file(kind="blood_bank"), "--home", home)
    assert (code, envelope["error"]["code"]) == (REFUSED_BY_POLICY, "may-not-join")
    assert "blood bank" in envelope["error"]["message"]
    assert not home.exists()
    assert not desk.asked_for("/v1/enrolments")


def test_a_node_that_the_access_rules_forbid_is_refused_with_the_rule(desk, home, capsys):
    rules = desk.policy.access
    forbidding = """@id("not-these") forbid (principal, action == Action::"join", resource)
        when { principal.organisation == "General Hospital" };
"""
    desk.publish(access=AccessRules(forbidding + rules.policies, rules.schema))
    code, envelope = ran(capsys, "join", "--token-file", desk.token_file(), "--home", home)
    assert (code, envelope["error"]["code"]) == (REFUSED_BY_POLICY, "may-not-join")
    assert "not-these" in envelope["error"]["message"]
    assert not home.exists()


def test_a_name_that_the_policy_lists_with_other_keys_is_refused(desk, home, capsys):
    token = desk.token_file(node="site-1")
    assert refused(capsys, "join", "--token-file", token, "--home", home) == (REFUSED_BY_POLICY, "name-taken")
    assert not home.exists()


def test_a_state_for_another_node_is_not_shown(desk, home, capsys, monkeypatch):
    state = desk._state
    monkeypatch.setattr(desk, "_state", lambda node: desk.tell("approved", node="other") or state("other"))
    assert refused(capsys, "join", "--token-file", desk.token_file(), "--home", home) == (
        INTEGRITY_FAILED,
        "wrong-context",
    )


# The home.


def test_another_sites_home_is_never_overwritten(desk, home, capsys):
    member(capsys, desk, home)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    other = desk.token_file(node="second-hospital")
    assert refused(capsys, "join", "--token-file", other, "--home", home) == (BAD_INPUT, "home-taken")
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_a_site_of_another_federation_is_never_overwritten(desk, home, capsys):
    member(capsys, desk, home)
    other = desk.token_file(anchor=bytes(32))
    assert refused(capsys, "join", "--token-file", other, "--home", home) == (BAD_INPUT, "home-taken")


def test_keys_that_no_join_made_are_never_used_or_overwritten(desk, home, capsys):
    (home / "keys").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    (home / "keys" / "identity.pem").write_text("somebody's")
    assert refused(capsys, "join", "--token-file", desk.token_file(), "--home", home) == (
        BAD_INPUT,
        "home-taken",
    )
    assert (home / "keys" / "identity.pem").read_text() == "somebody's"


def test_a_second_token_does_not_push_a_join_aside_that_is_under_way(desk, home, capsys):
    joined(capsys, desk, home)
    before = (home / "join.request").read_bytes()
    assert refused(capsys, "join", "--token-file", desk.token_file(), "--home", home) == (
        BAD_INPUT,
        "join-under-way",
    )
    assert (home / "join.request").read_bytes() == before


def test_a_home_that_others_can_read_is_refused(desk, home, capsys):
    home.mkdir(parents=True)
    home.chmod(0o755)
    assert refused(capsys, "join", "--token-file", desk.token_file(), "--home", home) == (
        BAD_INPUT,
        "exposed-files",
    )
    assert not left_behind(home)


def test_two_joins_at_once_do_not_mix(desk, home, capsys):
    token = desk.token_file()
    home.mkdir(parents=True, mode=0o700)
    with EnrolmentFiles(home).home.lock():
        assert refused(capsys, "join", "--token-file", token, "--home", home) == (BAD_INPUT, "home-in-use")
    assert not left_behind(home)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--data", "nowhere.csv"), ("--inspection-ca", "nowhere.pem"), ("--proxy", "socks5://x:1")],
)
def test_a_choice_that_cannot_be_used_is_refused_before_anything_is_made(desk, home, capsys, option, value):
    code, _ = refused(capsys, "join", "--token-file", desk.token_file(), "--home", home, option, value)
    assert code == BAD_INPUT
    assert not home.exists()
    assert not desk.requests


def test_a_proxy_that_spoils_signatures_takes_nothing_back(desk, home, capsys):
    """What fails on the way says nothing of the invitation: keys that governors may list stay."""
    joined(capsys, desk, home)
    before = left_behind(home)
    desk.fail = [Refused(401, "bad-signature")] * 3
    assert refused(capsys, "join", "--home", home) == (CONNECTION, "bad-signature")
    assert left_behind(home) == before
