"""Round 3, submit: sets and deliveries that a node refuses (steps 6.1 to 6.4), and headers the enclave refuses."""

import hashlib
from dataclasses import replace

import pytest
from tests.adversary import (
    as_node,
    faults_of,
    finish,
    nothing_opened,
    others,
    refused_by,
    send,
    stranger,
    turn,
)
from tests.playground import parse

import crimson_node.rounds.share as share_step
from crimson_node.rounds.submit import check_set
from crimson_protocol.cohort import Numbers
from crimson_protocol.errors import PeerFault
from crimson_protocol.graph import sealer
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import HeldShares, seal_shares
from crimson_protocol.secret.keys import Secret
from crimson_protocol.wire.messages.submit import Submit

ME = 2


@pytest.fixture
def shared(play):
    """Shared is out and not delivered; `mine` is what site 2 would be told."""
    federation = play(6)
    federation.said = federation.until("shared")
    federation.mine = parse(dict(federation.said)[ME])
    return federation


def refuses(federation, code: Refusal, **changes) -> None:
    """Site 2 refuses the altered set and takes no further part; nobody else hears of it."""
    forged = federation.forge(replace(federation.mine, **changes))
    refused_by(federation, [(ME, forged)], code, [ME])
    assert ME not in federation.encoded
    nothing_opened(federation)
    if code is not Refusal.WRONG_CONTEXT:
        assert federation.agents[ME].state.phase.value == "Withdrawn"


def dealers(federation, **roots):
    return tuple(
        replace(item, rows_root=roots.get(f"n{item.node}", item.rows_root))
        for item in federation.mine.dealers
    )


def without(items, node, field):
    return tuple(item for item in items if getattr(item, field) != node)


def deliveries(federation, dealer, **changes):
    return tuple(
        replace(item, **changes) if item.dealer == dealer else item for item in federation.mine.deliveries
    )


def test_own_manifest_missing_is_refused(shared):
    refuses(shared, Refusal.MANIFEST_ALTERED, dealers=without(shared.mine.dealers, ME, "node"))


def test_own_manifest_altered_is_refused(shared):
    refuses(shared, Refusal.MANIFEST_ALTERED, dealers=dealers(shared, n2=bytes(32)))


def test_a_set_for_another_t0_changes_nothing(shared):
    refuses(shared, Refusal.WRONG_CONTEXT, t0=bytes(32))
    assert finish(shared, shared.said) == "Released"


def test_a_set_too_small_is_refused(shared):
    few = tuple(item for item in shared.mine.dealers if item.node in (1, ME, 3))
    refuses(shared, Refusal.COHORT_TOO_SMALL, dealers=few)


def test_a_dealer_from_outside_the_roster_is_refused(shared):
    stranger_too = (*shared.mine.dealers, replace(shared.mine.dealers[-1], node=6))
    refuses(shared, Refusal.SETS_DO_NOT_PARTITION, dealers=stranger_too)


@pytest.mark.parametrize("dealer", [0, 5])
def test_a_missing_delivery_is_refused(shared, dealer):
    rest = without(shared.mine.deliveries, dealer, "dealer")
    refuses(shared, Refusal.MANIFEST_ALTERED, deliveries=rest)


def test_a_delivery_too_many_is_refused(shared):
    kept = without(shared.mine.dealers, 5, "node")
    refuses(shared, Refusal.MANIFEST_ALTERED, dealers=kept)


def test_a_row_under_another_root_is_refused(shared):
    refuses(shared, Refusal.MANIFEST_ALTERED, dealers=dealers(shared, n4=bytes(32)))


def test_a_row_for_another_recipient_is_refused(shared):
    theirs = next(item for item in parse(dict(shared.said)[0]).deliveries if item.dealer == 4)
    refuses(
        shared, Refusal.MANIFEST_ALTERED, deliveries=deliveries(shared, 4, row=theirs.row, path=theirs.path)
    )


@pytest.mark.parametrize("path", [(), (bytes(32),) * 3, (bytes(32),) * 9])
def test_a_row_without_its_path_is_refused(shared, path):
    refuses(shared, Refusal.MANIFEST_ALTERED, deliveries=deliveries(shared, 4, path=path))


@pytest.mark.parametrize("field", ["self_commitment", "root_commitment", "share_box"])
def test_a_row_with_any_byte_changed_is_refused(shared, field):
    row = next(item.row for item in shared.mine.deliveries if item.dealer == 4)
    changed = replace(row, **{field: bytes(len(getattr(row, field)))})
    refuses(shared, Refusal.MANIFEST_ALTERED, deliveries=deliveries(shared, 4, row=changed))


def test_a_manifest_with_a_bad_signature_is_refused(shared):
    manifest = next(item.manifest for item in shared.mine.deliveries if item.dealer == 4)
    broken = manifest[:-1] + bytes([manifest[-1] ^ 1])
    refuses(shared, Refusal.BAD_SIGNATURE, deliveries=deliveries(shared, 4, manifest=broken))


def test_a_manifest_of_another_dealer_is_refused(shared):
    theirs = next(item.manifest for item in shared.mine.deliveries if item.dealer == 5)
    refuses(shared, Refusal.BAD_SIGNATURE, deliveries=deliveries(shared, 4, manifest=theirs))


# Buckets and degrees, on agreements made for it: a real sparse graph needs more than 128 nodes.


def set_of(federation, chosen):
    return replace(federation.mine, dealers=tuple(i for i in federation.mine.dealers if i.node in chosen))


def checked(federation, agreement, chosen) -> PeerFault:
    agent = federation.agents[ME]
    state = replace(agent.state, agreement=agreement)
    with pytest.raises(PeerFault) as caught:
        check_set(state, agent.member, set_of(federation, chosen))
    return caught.value


def test_a_bucket_below_its_minimum_is_refused(shared):
    known = shared.agents[ME].state.agreement
    halves = ((0, 1, ME), (3, 4, 5))
    graph = replace(known.graph, buckets=halves)
    agreement = replace(known, graph=graph, floors=dict.fromkeys(halves, 3))
    fault = checked(shared, agreement, {0, ME, 3, 4, 5})
    assert (fault.code, fault.culprit) == (Refusal.BUCKET_TOO_SMALL, "enclave")
    state = replace(shared.agents[ME].state, agreement=agreement)
    check_set(state, shared.agents[ME].member, set_of(shared, {0, 1, ME, 3, 4}))


def test_a_degree_below_its_minimum_on_a_sparse_graph_is_refused(shared):
    known = shared.agents[ME].state.agreement
    ring = {node: frozenset({(node + step) % 6 for step in (1, 2, 4, 5)}) for node in range(6)}
    sparse = {6: Numbers(1, 4, 4, 4, 4, 3, dense=False)}
    agreement = replace(known, graph=replace(known.graph, neighbours=ring), bucket_cohorts=sparse)
    fault = checked(shared, agreement, {0, 1, ME, 5})
    assert (fault.code, fault.culprit) == (Refusal.DEGREE_TOO_SMALL, "enclave")
    state = replace(shared.agents[ME].state, agreement=agreement)
    check_set(state, shared.agents[ME].member, set_of(shared, {0, 1, ME, 3}))


# Bad dealings: the row is the dealer's, so the node withdraws with a signed complaint.


def no_box(public, info, shares):
    return bytes(1200)


def wrong_key(public, info, shares):
    return seal_shares(stranger().public, info, shares)


def other_shares(public, info, shares):
    return seal_shares(public, info, HeldShares(Secret(bytes(32)), Secret(bytes(32))))


def other_root_share(public, info, shares):
    return seal_shares(public, info, HeldShares(shares.self_share, Secret(bytes(32))))


@pytest.mark.parametrize(
    ("seal", "reason"),
    [
        (no_box, "share-box"),
        (wrong_key, "share-box"),
        (other_shares, "share-commitment"),
        (other_root_share, "share-commitment"),
    ],
)
def test_a_bad_share_box_or_commitment_is_complained_about(play, monkeypatch, seal, reason):
    """For one victim alone: it withdraws, the complaint is a claim and not a proof, the others go on."""
    federation = play(6)
    roster = federation.until("roster")
    boxes = []

    def for_the_first(public, info, shares):
        boxes.append(info)
        return seal(public, info, shares) if len(boxes) == 1 else seal_shares(public, info, shares)

    with monkeypatch.context() as patched:
        turn(federation, roster, 5, lambda: patched.setattr(share_step, "seal_shares", for_the_first))
    said = federation.close()
    replies = federation.deliver(said)
    complaint = parse(replies[0].control)
    assert (complaint.node, complaint.dealer, complaint.reason, complaint.mask_key) == (0, 5, reason, None)
    assert federation.agents[0].state.phase.value == "Withdrawn"
    assert not faults_of(federation)
    assert federation.session.state.withdrawn == {0}
    assert finish(federation, federation.close(), others(federation, 0)) == "Released"
    assert federation.opened[-1][1] == tuple(others(federation, 0))


def test_a_bad_pair_box_is_complained_about_with_the_mask_key(play, monkeypatch):
    federation = play(6)
    roster = federation.until("roster")
    bad = lambda public, info, secret: bytes(1168)
    with monkeypatch.context() as patched:
        turn(federation, roster, 5, lambda: patched.setattr(share_step, "seal_pair", bad))
    victim = next(node for node in range(5) if sealer(5, node) == 5)
    key = federation.agents[victim].state.secrets.root.mask_key()
    reply = federation.deliver(federation.close(), [victim], upload=False)[victim]
    complaint = parse(reply.control)
    assert (complaint.dealer, complaint.reason) == (5, "pair-box")
    assert complaint.mask_key == key.reveal()
    assert reply.payload is None and victim not in federation.encoded


# What the enclave refuses of a header; the vector itself is in attacks/test_altered_vectors.py.


@pytest.fixture
def ready(shared):
    shared.deliver(shared.said, others(shared, ME))
    shared.reply = shared.deliver(shared.said, [ME], upload=False)[ME]
    return shared


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"t1": bytes(32)}, Refusal.WRONG_CONTEXT),
        ({"length": 0}, Refusal.WRONG_LENGTH),
        ({"node": 3}, Refusal.WRONG_CONTEXT),
    ],
)
def test_a_header_is_refused_and_its_node_named(ready, changes, code):
    state = ready.session.state
    control = as_node(ready, ME, replace(parse(ready.reply.control), **changes))
    faults = send(ready, control, bytes(ready.reply.payload))
    assert [(fault.culprit, fault.code) for fault in faults] == [(f"site-{ME}", code)]
    assert ready.session.state is state
    assert ready.upload(ME, ready.reply) == ()
    assert finish(ready, ready.close()) == "Released"


def test_a_header_with_the_digest_of_nothing_blames_the_bytes_not_the_header(ready):
    header = parse(ready.reply.control)
    empty = Submit(header.t1, ME, hashlib.sha256(b"").digest(), header.length)
    faults = send(ready, as_node(ready, ME, empty))
    assert [(fault.culprit, fault.code) for fault in faults] == [(f"site-{ME}", Refusal.WRONG_LENGTH)]


def test_too_few_vectors_end_the_attempt_before_a_verdict(play):
    federation = play(6)
    federation.deliver(federation.until("shared"), [0, 1, 2])
    federation.deliver(federation.close())
    state = federation.session.state
    assert (state.phase.value, state.code, state.again) == ("Aborted", Refusal.COHORT_TOO_SMALL, True)
    assert all(agent.state.phase.value == "Withdrawn" for agent in federation.agents)
    nothing_opened(federation)
