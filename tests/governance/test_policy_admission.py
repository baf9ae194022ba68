"""Requests of sites become entries of the roster, or are refused with a reason; comments stay."""

import os

import pytest
from tests.governance.sources import NOW, dumped, node, run, site_keys

from crimson_governance.source.folder import read_source
from crimson_protocol.crypto.labels import JOIN, LEAVE, ROTATION
from crimson_protocol.enrolment import (
    JOIN_VERSION,
    LEAVE_VERSION,
    ROTATION_VERSION,
    JoinRequest,
    LeaveRequest,
    RotationRequest,
    SignedJoin,
    SignedLeave,
    SignedRotation,
    signed_bytes,
)
from crimson_protocol.secret.keys import IdentityKey
from crimson_protocol.words import fingerprint


def join(name: str, signer: str | None = None, **changes: object) -> bytes:
    """A join request's file, signed by the identity key of `signer` (its own where nothing is said)."""
    identity, box = site_keys(name)
    known = {
        "version": JOIN_VERSION,
        "invitation": bytes(32),
        "federation": "north",
        "node": name,
        "organisation": f"organisation of {name}",
        "kind": "hospital",
        "identity_key": identity.public,
        "encryption_key": box.public,
        "policy_digest": bytes(32),
        "time": NOW,
    }
    request = JoinRequest(**{**known, **changes}).to_bytes()
    message = signed_bytes(JOIN, request)
    invitation = IdentityKey.fresh(os.urandom)
    by_identity = site_keys(signer or name)[0].sign(message)
    return SignedJoin(request, invitation.sign(message), by_identity).to_bytes()


def rotation(name: str, new: str, old: str | None = None, **changes: object) -> bytes:
    """A rotation request's file: from the keys of `old` (`name`) to those of `new`."""
    previous = site_keys(old or name)[0]
    identity, box = site_keys(new)
    known = {
        "version": ROTATION_VERSION,
        "federation": "north",
        "node": name,
        "previous": previous.public,
        "identity_key": identity.public,
        "encryption_key": box.public,
        "time": NOW,
    }
    request = RotationRequest(**{**known, **changes}).to_bytes()
    message = signed_bytes(ROTATION, request)
    return SignedRotation(request, previous.sign(message), identity.sign(message)).to_bytes()


def leave(name: str) -> bytes:
    """A leave request's file."""
    identity = site_keys(name)[0]
    request = LeaveRequest(LEAVE_VERSION, "north", name, identity.public, NOW).to_bytes()
    return SignedLeave(request, identity.sign(signed_bytes(LEAVE, request))).to_bytes()


def admit(capfd, source, *requests: bytes):
    """The command on these request files, and what the roster lists afterwards."""
    paths = []
    for place, data in enumerate(requests):
        paths.append(source.folder.parent / f"request-{place}.cbor")
        paths[-1].write_bytes(data)
    answer = run(capfd, "admit", source.folder, *paths)
    return answer, read_source(source.folder).roster.form.nodes


COMMENTED = """# Who takes part.

nodes:   # in order
  # the first
  - node: site-0
    organisation: "a quoted organisation"   # its name
    kind: hospital
    status: active
    identity_key: {identity}
    encryption_key: {encryption}
# the end
"""


def test_sites_join_and_comments_stay(source, capfd):
    entry = node("site-0")
    text = COMMENTED.format(identity=entry["identity_key"], encryption=entry["encryption_key"])
    (source.folder / "roster.yaml").write_text(text)
    answer, nodes = admit(capfd, source, join("newcomer"), join("other", kind="blood_bank"))
    assert answer.code == 0
    assert [(item.node, item.kind, item.status) for item in nodes] == [
        ("site-0", "hospital", "active"),
        ("newcomer", "hospital", "active"),
        ("other", "blood_bank", "active"),
    ]
    identity, box = site_keys("newcomer")
    assert (nodes[1].identity_key, nodes[1].encryption_key) == (identity.public, box.public)
    assert answer.data["admitted"][0]["words"] == " ".join(fingerprint(identity.public, box.public))
    written = (source.folder / "roster.yaml").read_text()
    for part in (
        "# Who takes part.",
        "# in order",
        "# the first",
        '"a quoted organisation"   # its name',
        "# the end",
    ):
        assert part in written
    assert all(len(line) < 120 or "encryption_key: +" not in line for line in written.splitlines())


def test_the_first_site_joins_an_empty_roster(source, capfd):
    source.nodes, source.models = [], []
    source.write()
    for empty in ("nodes: []\n", "nodes:\n", "# nobody yet\nnodes: []   # so far\n"):
        (source.folder / "roster.yaml").write_text(empty)
        answer, nodes = admit(capfd, source, join("newcomer"))
        assert answer.code == 0 and [item.node for item in nodes] == ["newcomer"]
        assert run(capfd, "lint", source.folder).code == 0


def test_a_site_changes_its_keys(source, capfd):
    answer, nodes = admit(capfd, source, rotation("site-2", "fresh"))
    assert answer.code == 0 and answer.data["admitted"][0]["what"] == "changes its keys"
    assert nodes[2].identity_key == site_keys("fresh")[0].public
    assert [item.node for item in nodes] == [f"site-{index}" for index in range(6)]


def test_a_site_leaves_and_stays_in_the_list(source, capfd):
    answer, nodes = admit(capfd, source, leave("site-2"))
    assert answer.code == 0 and (nodes[2].node, nodes[2].status) == ("site-2", "revoked")


REFUSED = {
    "a node that is listed": ([join("site-1")], 5, "already-listed"),
    "a listed name with other keys": ([join("x", node="site-1")], 5, "already-listed"),
    "a listed key under another name": ([join("site-1", node="y")], 5, "already-listed"),
    "a listed encryption key": (
        [join("x", encryption_key=site_keys("site-1")[1].public)],
        5,
        "already-listed",
    ),
    "one site twice": ([join("x"), join("x")], 5, "already-listed"),
    "another federation": ([join("x", federation="south")], 5, "wrong-federation"),
    "a kind that is not admitted": ([join("x", kind="blood_bank")], 5, "kind-not-admitted"),
    "signed by another key": ([join("x", signer="y")], 9, "bad-signature"),
    "an edited request": (
        [join("x").replace(b"organisation of x", b"organisation of y")],
        9,
        "bad-signature",
    ),
    "keys changed by a stranger": ([rotation("site-1", "fresh", old="stranger")], 5, "stale-request"),
    "keys changed to another node's": ([rotation("site-1", "site-2")], 5, "already-listed"),
    "keys of a node that is not listed": ([rotation("nobody", "fresh")], 5, "not-listed"),
    "keys of a revoked node": ([leave("site-1"), rotation("site-1", "fresh")], 5, "revoked-for-good"),
    "a rotation replayed": ([rotation("site-1", "fresh"), rotation("site-1", "fresh")], 5, "stale-request"),
    "no request": ([b"hello"], 4, "no-request"),
    "an empty file": ([b""], 4, "no-request"),
    "a list of lists": ([b"\x83\x80\x80\x80"], 4, "no-request"),
    "a huge file": ([bytes(1 << 15)], 4, "file-too-long"),
    "a source file": ([dumped({"nodes": []}).encode()], 4, "no-request"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_is_refused_and_nothing_is_half_done(name, source, capfd):
    requests, code, error = REFUSED[name]
    source.federation["enrolment"] = {"approvals": 1, "kinds": ["hospital"]}
    before = (source.write().folder / "roster.yaml").read_bytes()
    answer, _ = admit(capfd, source, join("good"), *requests)
    assert (answer.code, answer.error["code"]) == (code, error)
    assert answer.error["hint"]
    assert (source.folder / "roster.yaml").read_bytes() == before


def test_a_cut_request_is_refused(source, capfd):
    data = join("x")
    for length in range(0, len(data), 97):
        answer, _ = admit(capfd, source, data[:length])
        assert answer.code in (4, 9)


def test_a_status_is_changed_and_a_revocation_is_for_good(source, capfd):
    def statuses() -> list[str]:
        return [item.status for item in read_source(source.folder).roster.form.nodes]

    assert run(capfd, "status", source.folder, "site-1", "suspended").code == 0
    assert statuses()[1] == "suspended"
    assert run(capfd, "status", source.folder, "site-1", "active").code == 0
    assert run(capfd, "status", source.folder, "site-1", "revoked").code == 0
    assert statuses() == ["active", "revoked", *["active"] * 4]
    answer = run(capfd, "status", source.folder, "site-1", "active")
    assert (answer.code, answer.error["code"]) == (5, "revoked-for-good")
    assert run(capfd, "status", source.folder, "nobody", "active").error["code"] == "not-listed"
    assert run(capfd, "status", source.folder, "site-2", "gone").error["code"] == "bad-status"
