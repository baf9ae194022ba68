"""New keys for a member: made beside the old ones, and taken into use by the signed policy alone."""

import os
import shutil
import signal

import pytest
from tests.node.commands import member, ran, refused
from tests.node.federation import MOMENTS
from tests.node.front_desk import SITE
from tests.node.relay_rounds import Refused

from crimson_node.commands import main
from crimson_node.enrolment.key_files import fresh_keys, read_keys, words_of, write_keys
from crimson_node.enrolment.rotation import NextKeys
from crimson_node.enrolment.standing import EnrolmentFiles
from crimson_node.home import NodeKeys
from crimson_node.outcome import BAD_INPUT, CONNECTION, OK, REFUSED_BY_POLICY
from crimson_node.transport.errors import AuthenticationFailed
from crimson_protocol.enrolment import open_rotation

KILLED = -signal.SIGKILL
WHEN = ("before", "after")
ASKING = [
    f"{name}:{when}" for name in ("identity.pem", "rotation.request", "next", "posted") for when in WHEN
]
SWITCHING = [
    f"{name}:{when}"
    for name in ("switching", "encryption.pem", "identity.pem", "no-switching")
    for when in WHEN
]


def test_a_rotation_makes_keys_beside_the_old_ones_and_changes_nothing_else(desk, home, capsys):
    member(capsys, desk, home)
    before = read_keys(home / "keys")
    code, envelope = ran(capsys, "key", "rotate", "--home", home)
    following = read_keys(home / "keys" / "next")
    assert (code, envelope["data"]["state"]) == (OK, "requested")
    assert envelope["data"]["fingerprint"] == list(words_of(following))
    request = open_rotation(desk.rotations[SITE])
    assert request.previous == before.identity.public == read_keys(home / "keys").identity.public
    assert (request.identity_key, request.encryption_key) == (
        following.identity.public,
        following.encryption.public,
    )
    # The command changed nothing that the node signs with.
    assert desk.requests[-1].node == desk.requests[-2].node or desk.requests[-1].path.endswith("/rotation")
    shown = ran(capsys, "status", "--home", home)[1]["data"]["enrolment"]
    assert shown["fingerprint"] == list(words_of(before))
    assert shown["next_fingerprint"] == list(words_of(following))
    assert ran(capsys, "key", "show", "--home", home)[1]["data"]["next"]["fingerprint"] == list(
        words_of(following)
    )
    assert main(["key", "rotate", "--home", str(home)]) == OK
    assert words_of(following)[0] in capsys.readouterr().out
    assert main(["key", "show", "--home", str(home)]) == OK
    assert words_of(before)[-1] in capsys.readouterr().out


def test_a_rotation_that_is_run_again_sends_the_same_bytes(desk, home, capsys):
    member(capsys, desk, home)
    for _ in range(2):
        assert ran(capsys, "key", "rotate", "--home", home)[0] == OK
    posts = desk.asked_for("/v1/enrolments/rotation")
    assert (len(posts), len({post.body for post in posts})) == (2, 1)


def test_a_rotation_can_be_carried_instead_of_sent(desk, home, capsys, tmp_path):
    member(capsys, desk, home)
    asked = len(desk.requests)
    carried = tmp_path / "rotation.cbor"
    code, envelope = ran(capsys, "key", "rotate", "--home", home, "--request-file", carried)
    assert (code, len(desk.requests), envelope["data"]["state"]) == (OK, asked, None)
    assert (
        open_rotation(carried.read_bytes()).identity_key == read_keys(home / "keys" / "next").identity.public
    )


def test_a_rotation_that_the_gateway_refuses_sets_its_keys_aside(desk, home, capsys):
    member(capsys, desk, home)
    desk.fail = [Refused(403, "node-revoked")]
    assert refused(capsys, "key", "rotate", "--home", home) == (REFUSED_BY_POLICY, "node-revoked")
    assert not (home / "keys" / "next").exists()
    assert read_keys(home / "keys" / "refused") is not None
    # Keys that were announced before stay: the governors may list them.
    assert ran(capsys, "key", "rotate", "--home", home)[0] == OK
    desk.fail = [Refused(409, "enrolment-closed")]
    assert refused(capsys, "key", "rotate", "--home", home)[0] == REFUSED_BY_POLICY
    assert read_keys(home / "keys" / "next") is not None


def test_only_a_member_rotates(desk, home, capsys):
    assert ran(capsys, "join", "--token-file", desk.token_file(), "--home", home)[0] == OK
    assert refused(capsys, "key", "rotate", "--home", home) == (BAD_INPUT, "not-a-member")


@pytest.mark.parametrize("point", ASKING)
def test_a_killed_rotation_is_ended_by_the_same_command(desk, home, capsys, victims, point):
    member(capsys, desk, home)
    kept = read_keys(home / "keys").identity.public
    assert victims.run(point, "key", "rotate", "--home", home) == KILLED
    assert read_keys(home / "keys").identity.public == kept
    assert (home / "keys" / "next").exists() == (point in ("next:after", "posted:before", "posted:after"))
    assert ran(capsys, "key", "rotate", "--home", home)[0] == OK
    assert len({post.body for post in desk.asked_for("/v1/enrolments/rotation")}) == 1
    assert [path.name for path in (home / "keys").iterdir() if path.is_dir()] == ["next"]


# The switch. The federation's policy lists the new keys already; the home holds old ones.


@pytest.fixture
def rotated(federation):
    """A federation whose first node is listed with keys that lie in keys/next, and uses older ones."""
    one = federation()
    keys = one.write(0) / "keys"
    write_keys(keys / "next", read_keys(keys))
    write_keys(keys, fresh_keys(os.urandom))
    return one


def listed(one) -> bytes:
    return one.homes.parties.identities[0].public


def test_a_node_goes_over_to_the_keys_that_the_policy_lists_and_takes_part(rotated):
    rotated.start()
    assert rotated.round(MOMENTS) == "released"
    assert len(rotated.running[0].said("keys-changed")) == 1
    keys = rotated.homes.home(0) / "keys"
    assert read_keys(keys).identity.public == listed(rotated)
    assert {path.name for path in keys.iterdir()} == {"identity.pem", "encryption.pem"}
    # The old key is gone, and nothing needs it: the node starts again.
    rotated.stop(0)
    rotated.start(0)
    assert rotated.round(MOMENTS) == "released"
    assert not rotated.running[0].said("keys-changed")


def test_a_relay_that_keeps_a_rotation_and_calls_it_refused_locks_nobody_out(rotated):
    """Governors were handed the request all the same: the node uses the keys that their policy lists."""
    keys = rotated.homes.home(0) / "keys"
    (keys / "next").rename(keys / "refused")
    rotated.start()
    assert rotated.round(MOMENTS) == "released"
    assert read_keys(keys).identity.public == listed(rotated)
    assert {path.name for path in keys.iterdir()} == {"identity.pem", "encryption.pem"}


def test_an_agent_that_runs_goes_on_when_the_gateway_knows_its_new_key_alone(federation):
    """Between two requests the policy changes: the next request is signed with the key that it lists."""
    one = federation()
    one.start()
    one.relay.wait(lambda: all(node.said("endorsed") for node in one.running.values()))
    keys, place = one.homes.home(0) / "keys", one.relay.server
    following = fresh_keys(os.urandom)
    NextKeys(EnrolmentFiles(keys.parent)).keep(following, b"")
    place.know(following.identity.public, 0)
    place.forget(listed(one))
    # The enclave and the policy are the old ones still, and so are the keys that the node signs messages with.
    assert one.round(MOMENTS) == "released"
    assert read_keys(keys).identity.public == listed(one)


@pytest.mark.parametrize("point", SWITCHING)
def test_a_node_that_is_killed_while_it_changes_keys_ends_with_the_new_ones(rotated, victims, point):
    home = rotated.homes.home(0)
    assert victims.run(point, "run", "--home", home) == KILLED
    rotated.start()
    assert rotated.round(MOMENTS) == "released"
    assert read_keys(home / "keys").identity.public == listed(rotated)
    assert {path.name for path in (home / "keys").iterdir()} == {"identity.pem", "encryption.pem"}


def test_keys_that_no_policy_lists_are_never_taken_into_use(federation):
    """Whatever the gateway says or accepts: a signed policy alone changes a node's keys."""
    one = federation()
    home = one.write(0)
    kept, following = read_keys(home / "keys"), fresh_keys(os.urandom)
    write_keys(home / "keys" / "next", following)
    one.relay.server.know(following.identity.public, 0)
    one.start()
    assert one.round(MOMENTS) == "released"
    assert not one.running[0].said("keys-changed")
    assert read_keys(home / "keys").identity.public == kept.identity.public


@pytest.mark.parametrize("half", ["identity", "encryption"])
def test_half_a_key_pair_in_the_policy_changes_nothing(rotated, half):
    """The policy lists one of the two keys that were asked for, and another beside it."""
    folder = rotated.homes.home(0) / "keys" / "next"
    asked, other = read_keys(folder), fresh_keys(os.urandom)
    mixed = (
        NodeKeys(asked.identity, other.encryption)
        if half == "identity"
        else NodeKeys(other.identity, asked.encryption)
    )
    shutil.rmtree(folder)
    write_keys(folder, mixed)
    rotated.start(0)
    error = rotated.running[0].ended()
    assert error is not None
    assert not rotated.running[0].said("keys-changed")
    assert read_keys(folder) is not None


def test_without_other_keys_a_refused_signature_ends_the_node(federation):
    one = federation()
    one.write(0)
    one.relay.server.forget(listed(one))
    one.start(0)
    error = one.running[0].ended()
    assert isinstance(error, AuthenticationFailed)
    assert error.failure.exit_code == CONNECTION
