"""How a site joins, and each way of joining that is refused, named after the attack. The gateway is a real process."""

import json
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace

import httpx
import pytest
from tests.gateway.federation import Federation
from tests.gateway.problem import problem
from tests.gateway.sites import Member, Site, reports

from crimson_protocol.enrolment import EnrolmentState, NewInvitation, SignedJoin
from crimson_protocol.secret.keys import IdentityKey

OTHER_PATHS = ("/v1/calls", "/v1/nodes", "/v1/rounds", "/v1/events", "/v1/enrolments", "/v1/invitations")


@pytest.fixture
def site(enrolling: Federation) -> Site:
    """A fresh site, not invited yet."""
    return Site(enrolling, f"site-{os.urandom(4).hex()}")


def enrolled(federation: Federation, node: str) -> list[str]:
    """States of the node's requests in the database."""
    with closing(sqlite3.connect(federation.home / "gateway.db")) as database:
        rows = database.execute("SELECT state FROM enrolments WHERE node = ?", (node,)).fetchall()
    return [state for (state,) in rows]


def test_a_site_joins_by_invitation_and_is_told_where_it_stands(enrolling, site):
    assert problem(site.client().ask("GET", "/v1/enrolments/self")) == "bad-signature"
    invited = site.invite()
    assert invited.status_code == 201 and invited.json()["id"] == site.invitation.digest().hex()
    assert problem(site.client().ask("GET", "/v1/enrolments/self")) == "unknown-enrolment"
    answer = site.join()
    state = EnrolmentState.from_bytes(answer.content, 4096)
    assert (answer.status_code, state.state, state.approvals, state.needed) == (201, "requested", 0, 2)
    assert site.state() == site.state(site.identity) == state
    kinds = [(kind, actor) for kind, subject, actor, _ in reports(enrolling) if subject == site.node]
    assert kinds == [
        ("invitation-issued", "operator"),
        ("node-requested", site.invitation.digest().hex()),
    ]


def test_an_invited_site_reads_the_policy_and_nothing_else(enrolling, site):
    site.invite()
    client = site.client()
    assert client.ask("GET", "/v1/policy").status_code == 200
    for path in OTHER_PATHS:
        assert problem(client.ask("GET", path)) == "not-permitted", path
    assert problem(client.ask("PUT", "/v1/rounds/1/ready")) == "not-permitted"
    assert problem(client.ask("POST", "/v1/invitations", b"x")) == "not-permitted"
    assert problem(client.ask("POST", "/v1/enrolments/rotation", b"x")) == "not-permitted"
    assert problem(client.ask("POST", f"/v1/enrolments/{site.node}/approval", b"{}")) == "not-permitted"


def test_a_key_that_asks_to_be_listed_may_do_no_more_than_ask(enrolling, site):
    site.joined()
    candidate = site.client(site.identity)
    assert candidate.ask("GET", "/v1/policy").status_code == 200
    for path in OTHER_PATHS:
        assert problem(candidate.ask("GET", path)) == "not-permitted", path


def test_the_same_request_again_is_answered_the_same(enrolling, site):
    site.joined()
    again = site.join(site.body)
    assert again.status_code == 200
    assert EnrolmentState.from_bytes(again.content, 4096) == site.state()
    assert enrolled(enrolling, site.node) == ["requested"]


def test_the_same_invitation_again_is_answered_the_same(enrolling, site):
    first, again = site.invite(), site.invite()
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    listed = enrolling.operator().ask("GET", "/v1/invitations").json()["invitations"]
    assert [row["state"] for row in listed if row["id"] == site.invitation.digest().hex()] == ["open"]


def test_a_replayed_invitation_takes_no_second_request(enrolling, site):
    site.joined()
    first = site.identity.public
    site.fresh_keys()
    assert problem(site.join()) == "invitation-used"
    assert enrolled(enrolling, site.node) == ["requested"]
    assert problem(site.client(site.identity).ask("GET", "/v1/enrolments/self")) == "bad-signature"
    assert first not in (site.identity.public,)


def test_an_expired_invitation_is_refused(enrolling, site):
    site = Site(enrolling, site.node, expires=int(time.time()) + 2)
    site.invite()
    time.sleep(2.2)
    assert problem(site.join()) == "invitation-expired"
    assert problem(site.client().ask("GET", "/v1/policy")) == "invitation-expired"
    assert problem(enrolling.operator().ask("POST", "/v1/enrolments", site.request())) == "invitation-expired"
    assert enrolled(enrolling, site.node) == []
    noted = ("node-refused", site.node, site.invitation.digest().hex(), "invitation-expired")
    assert noted in reports(enrolling)


def test_a_used_invitation_may_ask_after_its_end(enrolling, site):
    site = Site(enrolling, site.node, expires=int(time.time()) + 2)
    site.joined()
    time.sleep(2.2)
    assert site.state().state == "requested"


def test_a_revoked_invitation_is_refused(enrolling, site):
    site.invite()
    path = f"/v1/invitations/{site.invitation.digest().hex()}"
    operator = enrolling.operator()
    assert operator.ask("DELETE", path).status_code == operator.ask("DELETE", path).status_code == 204
    assert problem(site.join()) == "invitation-revoked"
    assert problem(operator.ask("POST", "/v1/enrolments", site.request())) == "invitation-revoked"
    assert enrolled(enrolling, site.node) == []
    assert [row[0] for row in reports(enrolling) if row[1] == site.node].count("invitation-revoked") == 1


def test_a_used_invitation_is_not_taken_back(enrolling, site):
    site.joined()
    path = f"/v1/invitations/{site.invitation.digest().hex()}"
    assert problem(enrolling.operator().ask("DELETE", path)) == "invitation-used"
    assert problem(enrolling.operator().ask("DELETE", f"/v1/invitations/{'0' * 64}")) == "unknown-invitation"


def test_a_foreign_invitation_is_refused(enrolling, site):
    """One that this gateway never heard of; its key is a stranger's."""
    assert problem(site.join()) == "bad-signature"
    assert problem(enrolling.operator().ask("POST", "/v1/enrolments", site.request())) == "unknown-invitation"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("federation", "another"),
        ("anchor", bytes(32)),
        ("policy_digest", bytes(32)),
        ("policy_serial", 99),
        ("issuer", "somebody else"),
        ("expires", 1),
        ("expires", 2**40),
        ("node", "a/b"),
    ],
)
def test_an_invitation_to_another_federation_or_for_too_long_is_not_issued(enrolling, site, field, value):
    other = Site(enrolling, site.node)
    other.invitation = replace(other.invitation, **{field: value})
    assert problem(other.invite()) == "invitation-differs"
    assert problem(other.client().ask("GET", "/v1/policy")) == "bad-signature"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node", "another"),
        ("organisation", "another"),
        ("kind", "blood_bank"),
        ("federation", "another"),
        ("policy_digest", bytes(32)),
        ("time", 1),
        ("time", 2**40),
    ],
)
def test_an_edited_request_is_refused(enrolling, site, field, value):
    """Its holder signs another name, another kind, another policy than was promised."""
    site.invite()
    assert problem(site.join(site.request(**{field: value}))) == "enrolment-differs"
    assert enrolled(enrolling, site.node) == enrolled(enrolling, "another") == []
    assert site.join().status_code == 201, "a refused try must not use the invitation up"


def test_a_request_under_another_invitation_is_refused(enrolling, site):
    other = Site(enrolling, site.node + "x")
    site.invite()
    other.invite()
    assert problem(site.join(other.request())) == "enrolment-differs"
    # Signed with the other invitation's key and naming this one's digest.
    assert problem(site.join(site.request(by=other.invitation_key))) == "enrolment-unproven"
    assert enrolled(enrolling, site.node) == enrolled(enrolling, other.node) == []


def test_a_request_for_a_key_that_its_holder_does_not_have_is_refused(enrolling, site):
    site.invite()
    signed = SignedJoin.from_bytes(site.request(), 1 << 14)
    stranger = IdentityKey.fresh(os.urandom)
    forged = SignedJoin(signed.request, signed.by_invitation, stranger.sign(b"something"))
    assert problem(site.join(forged.to_bytes())) == "enrolment-unproven"
    assert enrolled(enrolling, site.node) == []


@pytest.mark.parametrize("body", [b"", b"\x80", b"\xff" * 100, b'{"node": "x"}', bytes(5000)], ids=len)
def test_what_is_no_request_is_refused(enrolling, site, body):
    site.invite()
    client, operator = site.client(), enrolling.operator()
    assert problem(client.ask("POST", "/v1/enrolments", body)) == "enrolment-malformed"
    assert problem(operator.ask("POST", "/v1/invitations", body)) == "enrolment-malformed"


def test_an_oversized_request_is_refused_before_it_is_read(enrolling, site):
    site.invite()
    assert problem(site.client().ask("POST", "/v1/enrolments", bytes(1 << 15))) == "body-too-large"
    assert problem(enrolling.operator().ask("POST", "/v1/invitations", bytes(1 << 14))) == "body-too-large"


def test_a_site_of_the_wrong_kind_is_not_invited(enrolling, site):
    bank = Site(enrolling, site.node, kind="blood_bank")
    assert problem(bank.invite()) == "join-not-permitted"
    assert "blood_bank" in bank.invite().json()["detail"]


def test_a_key_that_is_listed_already_is_refused(enrolling, site):
    site.invite()
    parties = enrolling.parties
    site.identity = parties.identities[0]
    assert problem(site.join()) == "key-listed"
    site.identity = site.invitation_key
    assert problem(site.join()) == "key-listed"
    site.fresh_keys()
    site.box = parties.encryptions[1]
    assert problem(site.join()) == "key-listed"
    assert enrolled(enrolling, site.node) == []


def test_a_key_in_another_open_request_is_refused(enrolling, site):
    site.joined()
    other = Site(enrolling, site.node + "x")
    other.invite()
    other.identity = site.identity
    assert problem(other.join()) == "key-listed"
    other.fresh_keys()
    other.box = site.box
    assert problem(other.join()) == "key-listed"


def test_one_key_does_not_carry_two_invitations(enrolling, site):
    site.invite()
    other = Site(enrolling, site.node + "x")
    other.invitation_key = site.invitation_key
    assert problem(other.invite()) == "invitation-exists"
    listed = Site(enrolling, site.node + "y")
    listed.invitation_key = enrolling.parties.identities[0]
    assert problem(listed.invite()) == "key-listed"
    # The same invitation under another key.
    body = NewInvitation(site.invitation.to_bytes(), IdentityKey.fresh(os.urandom).public).to_bytes()
    assert problem(enrolling.operator().ask("POST", "/v1/invitations", body)) == "invitation-exists"


def test_a_second_request_for_one_node_waits_for_the_first(enrolling, site):
    site.joined()
    second = Site(enrolling, site.node, expires=int(time.time()) + 99)
    assert second.invite().status_code == 201
    assert problem(second.join()) == "enrolment-open"


def test_an_active_node_is_not_invited_to_replace_its_keys(enrolling):
    assert problem(Site(enrolling, "site-0").invite()) == "node-listed"


def test_a_node_may_not_invite_nor_hand_in_requests(enrolling, site):
    node = enrolling.client(0)
    assert problem(site.invite(node)) == "not-permitted"
    site.invite()
    assert problem(site.join(client=node)) == "not-permitted"


def test_an_operator_carries_the_request_of_a_site_that_does_not_connect(enrolling, site):
    site.invite()
    answer = enrolling.operator().ask("POST", "/v1/enrolments", site.request())
    assert answer.status_code == 201
    assert site.state(site.identity).state == "requested"


def test_refusals_are_reported_once_for_each_reason(enrolling, site):
    site.invite()
    for _ in range(3):
        site.join(site.request(kind="blood_bank"))
    rows = [row for row in reports(enrolling) if row[1] == site.node and row[0] == "node-refused"]
    assert rows == [("node-refused", site.node, site.invitation.digest().hex(), "enrolment-differs")]


def test_many_requests_at_once_use_an_invitation_once(enrolling, site):
    site.invite()
    bodies = []
    for _ in range(6):
        site.fresh_keys()
        bodies.append(site.request())
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda body: site.join(body, site.client()), bodies))
    assert sorted(answer.status_code for answer in answers) == [201] + 5 * [409]
    assert enrolled(enrolling, site.node) == ["requested"]


def test_kill_9_amid_requests_leaves_none_half_joined(enrolling):
    """An invitation is used if, and only if, its request is there; what was acknowledged is there."""
    sites = [Site(enrolling, f"site-{os.urandom(4).hex()}") for _ in range(12)]
    for site in sites:
        assert site.invite().status_code == 201
    bodies = {site.node: site.request() for site in sites}
    clients = {site.node: site.client() for site in sites}
    acknowledged = []

    def send(site: Site) -> None:
        with suppress(httpx.TransportError):
            if site.join(bodies[site.node], clients[site.node]).status_code == 201:
                acknowledged.append(site.node)

    with ThreadPoolExecutor(len(sites)) as pool:
        sending = [pool.submit(send, site) for site in sites]
        while not acknowledged and not all(task.done() for task in sending):
            time.sleep(0.001)
        enrolling.kill()
    enrolling.start()
    with closing(sqlite3.connect(enrolling.home / "gateway.db")) as database:
        used = {
            row[0] for row in database.execute("SELECT used_by FROM invitations WHERE used_by IS NOT NULL")
        }
        there = dict(database.execute("SELECT digest, node FROM enrolments WHERE kind = 'join'"))
    assert used == set(there) and set(acknowledged) <= set(there.values())
    for site in sites:
        assert site.join(bodies[site.node]).status_code in (200, 201)
        assert enrolled(enrolling, site.node) == ["requested"]


def test_after_kill_9_an_acknowledged_request_is_there_and_its_invitation_used(enrolling, site):
    site.joined()
    enrolling.kill()
    enrolling.start()
    assert site.state().state == "requested"
    assert site.join(site.body).status_code == 200
    site.fresh_keys()
    assert problem(site.join()) == "invitation-used"


def test_a_member_rotates_its_keys_under_both(enrolling):
    member = Member(enrolling, 1)
    body = member.rotation()
    answer = member.rotate(body)
    assert answer.status_code == 201
    assert member.rotate(body).status_code == 200
    assert member.state(member.current).state == member.state(member.identity).state == "requested"
    assert ("key-rotation-requested", member.node, member.node, None) in reports(enrolling)


def test_a_rotation_of_another_node_is_refused(enrolling):
    thief, victim = Member(enrolling, 2), Member(enrolling, 3)
    # The thief's own key may not vouch for another name, nor another's previous key be named.
    assert problem(thief.rotate(thief.rotation(node=victim.node))) == "enrolment-differs"
    assert problem(thief.rotate(thief.rotation(previous=victim.current.public))) == "enrolment-unproven"
    assert problem(thief.rotate(victim.rotation())) == "enrolment-differs"
    assert problem(thief.rotate(thief.rotation(federation="another"))) == "enrolment-differs"
    assert enrolled(enrolling, victim.node) == []


def test_a_rotation_to_a_listed_key_is_refused(enrolling):
    member = Member(enrolling, 2)
    member.identity = enrolling.parties.identities[3]
    assert problem(member.rotate()) == "key-listed"


def test_a_later_rotation_takes_the_place_of_an_undecided_one(enrolling):
    member = Member(enrolling, 4)
    assert member.rotate().status_code == 201
    first = member.identity
    member.fresh_keys()
    assert member.rotate().status_code == 201
    assert enrolled(enrolling, member.node) == ["refused", "requested"]
    state = member.state(first)
    assert (state.state, state.reason) == ("refused", "a later request took its place")
    assert member.state(member.current).state == "requested"


def test_a_node_that_leaves_is_refused_at_once(enrolling):
    member = Member(enrolling, 5)
    assert problem(member.leave(member.leaving(node="site-1"))) == "enrolment-differs"
    body = member.leaving()
    assert member.leave(body).status_code == 201
    assert problem(member.client(member.current).ask("GET", "/v1/policy")) == "node-revoked"
    assert member.leave(body).status_code == 200, "whoever missed the answer hears it again"
    state = member.state(member.current)
    assert (state.state, state.reason) == ("revoked", "it left")
    assert problem(member.leave(member.leaving(time=int(time.time()) - 5))) == "node-revoked"
    assert ("node-left", member.node, member.node, None) in reports(enrolling)


def test_operators_read_requests_byte_for_byte(enrolling, site):
    site.joined()
    operator = enrolling.operator()
    assert operator.ask("GET", f"/v1/enrolments/{site.node}/request").content == site.body
    views = {view["node"]: view for view in operator.ask("GET", "/v1/enrolments").json()["enrolments"]}
    view = views[site.node]
    assert (view["kind"], view["state"], view["approvals"]) == ("join", "requested", [])
    assert site.words not in json.dumps(view)
    assert problem(operator.ask("GET", "/v1/enrolments/nobody/request")) == "unknown-enrolment"
