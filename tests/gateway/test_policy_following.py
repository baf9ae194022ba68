"""A running gateway follows its policy repository, and stays with the policy before where what lies there is bad."""

import hashlib
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.gateway.federation import Federation, Together, valid_now
from tests.gateway.operators import ask_two_of_three
from tests.gateway.problem import problem
from tests.gateway.sites import Member, Site, reports
from tests.playground import make_parties, sign_policy

from crimson_protocol.policy.document import Policy, RosterEntry
from crimson_protocol.secret.keys import DualKey

PATIENCE = 5.0


@pytest.fixture
def following(tmp_path) -> Federation:
    """A gateway without an enclave, of its own: its policy is changed."""
    federation = Federation(
        tmp_path, parties=valid_now(make_parties(6, seed=os.urandom(4).hex())), failure_rate=1000
    )
    ask_two_of_three(federation)
    federation.start()
    yield federation
    federation.close()


def newer(federation: Federation, governor: DualKey | None = None, **changes: object) -> bytes:
    """The next policy with changes, as its governor, or another, publishes it. It is not put anywhere yet."""
    policy = federation.parties.policy
    federation.parties = federation.governed(federation.parties, **{"serial": policy.serial + 1, **changes})
    if governor is not None:
        return sign_policy(governor, federation.parties.policy)
    return federation.parties.signed


def put(federation: Federation, data: bytes) -> None:
    """Put a bundle where the gateway looks, as publishing does: whole, and in one step."""
    new = path_of(federation).with_name("new")
    new.write_bytes(data)
    new.rename(path_of(federation))


def listed(policy: Policy, *sites: Site) -> tuple[RosterEntry, ...]:
    """The roster with sites that governors admitted."""
    more = (
        RosterEntry(
            site.node,
            site.invitation.organisation,
            site.invitation.kind,
            site.identity.public,
            site.box.public,
            "active",
        )
        for site in sites
    )
    return (*policy.roster, *more)


def served(federation: Federation) -> bytes:
    """The bundle that the gateway gives out."""
    return federation.operator().ask("GET", "/v1/policy").content


def adopted(federation: Federation, bundle: bytes) -> bool:
    """Whether the gateway gives out this bundle soon."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if served(federation) == bundle:
            return True
        time.sleep(0.1)
    return False


def refused(federation: Federation, bundle: bytes) -> bool:
    """Whether the gateway looked at what lies there, says that it refused it, and stays with `bundle`."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and not any(row[0] == "policy-refused" for row in reports(federation)):
        time.sleep(0.1)
    log = (federation.folder / "gateway.log").read_text()
    said = any(row[0] == "policy-refused" for row in reports(federation)) and "policy refused" in log
    return said and served(federation) == bundle


def path_of(federation: Federation) -> Path:
    return federation.home / "policy" / "policy.bundle"


def test_a_new_policy_is_in_force_within_moments(following):
    before = served(following)
    bundle = newer(following)
    put(following, bundle)
    assert adopted(following, bundle) and before != bundle
    answer = following.client(0).ask("GET", "/v1/policy")
    tag = hashlib.sha256(bundle).hexdigest()
    assert answer.headers["etag"] == f'"{tag}"'
    again = following.client(0).ask("GET", "/v1/policy", headers={"If-None-Match": f'"{tag}"'})
    assert again.status_code == 304
    assert "policy-refused" not in {row[0] for row in reports(following)}


def test_a_site_is_a_member_once_a_policy_lists_it(following):
    site = Site(following, "site-new").joined()
    assert problem(site.client(site.identity).ask("GET", "/v1/calls")) == "not-permitted"
    bundle = newer(following, roster=listed(following.parties.policy, site))
    put(following, bundle)
    assert adopted(following, bundle)
    assert site.client(site.identity).ask("GET", "/v1/calls").status_code == 204
    assert site.state().state == site.state(site.identity).state == "listed"
    views = following.operator().ask("GET", "/v1/enrolments").json()["enrolments"]
    assert [view["state"] for view in views] == ["listed"]


def test_a_rotated_away_key_is_refused_and_the_new_one_accepted(following):
    member = Member(following, 0)
    member.rotate()
    roster = following.parties.policy.roster
    entry = replace(roster[0], identity_key=member.identity.public, encryption_key=member.box.public)
    bundle = newer(following, roster=(entry, *roster[1:]))
    put(following, bundle)
    assert adopted(following, bundle)
    assert problem(member.client(member.current).ask("GET", "/v1/policy")) == "bad-signature"
    assert member.client(member.identity).ask("GET", "/v1/calls").status_code == 204
    assert member.state(member.identity).state == "listed"


def test_a_key_that_joined_and_was_rotated_away_is_nobodys(following):
    """Its request of the same week does not keep it alive."""
    site = Site(following, "site-new").joined()
    first = site.identity
    put(following, newer(following, roster=listed(following.parties.policy, site)))
    site.fresh_keys()
    roster = following.parties.policy.roster
    last = replace(roster[-1], identity_key=site.identity.public, encryption_key=site.box.public)
    end = time.monotonic() + PATIENCE
    while site.state(first).state != "listed" and time.monotonic() < end:
        time.sleep(0.1)
    bundle = newer(following, roster=(*roster[:-1], last))
    put(following, bundle)
    assert adopted(following, bundle)
    for path in ("/v1/policy", "/v1/enrolments/self", "/v1/calls"):
        assert problem(site.client(first).ask("GET", path)) == "bad-signature"
    assert site.client(site.identity).ask("GET", "/v1/calls").status_code == 204


@pytest.mark.parametrize("status", ["suspended", "revoked"])
def test_a_node_that_the_policy_holds_back_is_refused(following, status):
    member = Member(following, 1)
    roster = following.parties.policy.roster
    changed = (roster[0], replace(roster[1], status=status), *roster[2:])
    bundle = newer(following, roster=changed)
    put(following, bundle)
    assert adopted(following, bundle)
    assert problem(member.client(member.current).ask("GET", "/v1/calls")) == f"node-{status}"
    assert member.state(member.current).state == status


def test_an_operator_that_is_struck_off_is_refused_and_its_approval_counts_no_more(following):
    site = Site(following, "site-new").joined()
    body = json.dumps({"fingerprint": site.words}).encode()
    operator = following.operator()
    assert operator.ask("POST", "/v1/enrolments/site-new/approval", body).status_code == 200
    others = tuple(entry for entry in following.parties.policy.operators if entry.name != "operator")
    bundle = newer(following, operators=others)
    put(following, bundle)
    end = time.monotonic() + PATIENCE
    while (answer := operator.ask("GET", "/v1/nodes")).status_code == 200 and time.monotonic() < end:
        time.sleep(0.1)
    assert problem(answer) == "bad-signature"
    assert (site.state().state, site.state().approvals) == ("requested", 0)


def test_an_older_policy_is_refused(following):
    first = served(following)
    second = newer(following)
    put(following, second)
    assert adopted(following, second)
    put(following, first)
    assert refused(following, second)


def test_an_older_policy_is_refused_after_a_restart_as_well(following):
    first = served(following)
    second = newer(following)
    put(following, second)
    assert adopted(following, second)
    following.kill()
    put(following, first)
    following.start()
    assert served(following) == second, "the last that was in force goes on"
    third = newer(following)
    put(following, third)
    assert adopted(following, third)


def test_an_edited_policy_is_refused(following):
    before = served(following)
    edited = bytearray(newer(following))
    edited[len(edited) // 2] ^= 1
    put(following, bytes(edited))
    assert refused(following, before)


def test_a_policy_of_another_governor_is_refused(following):
    before = served(following)
    put(following, newer(following, DualKey.fresh(os.urandom)))
    assert refused(following, before)


def test_an_expired_policy_is_refused(following):
    before = served(following)
    put(following, newer(following, expires=1))
    assert refused(following, before)


def test_a_roster_that_moves_nodes_to_other_places_is_refused(following):
    """Rounds name nodes by their places: what one node sent must never count as another's."""
    before = served(following)
    roster = following.parties.policy.roster
    put(following, newer(following, roster=(roster[1], roster[0], *roster[2:])))
    assert refused(following, before)


@pytest.mark.parametrize("what", [b"", b"nothing", b"\x80", bytes(1 << 16)], ids=len)
def test_what_is_no_bundle_is_refused(following, what):
    before = served(following)
    path_of(following).write_bytes(what)
    assert refused(following, before)


def test_an_endless_bundle_is_refused_before_it_is_read(following):
    before = served(following)
    new = path_of(following).with_name("new")
    with new.open("wb") as file:
        file.truncate(1 << 40)
    new.rename(path_of(following))
    assert refused(following, before)
    assert following.resident < 1 << 30


def test_a_symlink_is_not_followed(following):
    before = served(following)
    good = newer(following)
    target = following.folder / "elsewhere.bundle"
    target.write_bytes(good)
    path_of(following).unlink()
    path_of(following).symlink_to(target)
    assert refused(following, before)
    put(following, good)
    assert adopted(following, good)


def test_a_pipe_does_not_hold_the_gateway_up(following):
    before = served(following)
    path_of(following).unlink()
    os.mkfifo(path_of(following))
    assert refused(following, before)
    assert following.client(0).ask("GET", "/v1/calls").status_code == 204


def test_a_bundle_that_vanishes_changes_nothing(following):
    before = served(following)
    path_of(following).unlink()
    assert refused(following, before)
    bundle = newer(following)
    put(following, bundle)
    assert adopted(following, bundle)


def test_a_file_swapped_again_and_again_serves_whole_policies_alone(following):
    """Whatever lies there at any moment, what is given out was verified, byte for byte."""
    bundles = [served(following)]
    bundles += [newer(following) for _ in range(3)]
    seen = set()
    for bundle in bundles[1:]:
        for _ in range(5):
            path_of(following).write_bytes(bundle[: len(bundle) // 2])
            seen.add(served(following))
            put(following, bundle)
            seen.add(served(following))
        assert adopted(following, bundle)
    assert seen <= set(bundles)


def test_a_policy_that_changes_once_a_verdict_is_out_leaves_the_round_as_it_is(federate):
    federation = federate(6)
    hospitals = federation.hospitals()
    gate = threading.Event()
    hospitals[0].pause_before["Verdict"] = gate
    round_ = federation.order_round()
    together = Together(hospitals)
    federation.wait_until(round_["id"], "confirming")
    bundle = newer(federation, expires=federation.parties.policy.expires + 1)
    put(federation, bundle)
    assert adopted(federation, bundle)
    gate.set()
    assert set(together.join().values()) == {"released"}
    assert federation.round(round_["id"])["attempt"] == 1
