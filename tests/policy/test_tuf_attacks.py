"""Each attack that TUF is made against, on everybody who follows policies. Nobody moves, and each says why.

Rotation of the governors' keys has a file of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest
from tests.enclave.hosting import RefusedQuestion
from tests.playground import NOW
from tests.policy.court import ED25519, ML_DSA, WEEK, Court, Signer, expired, version
from tests.policy.followers import FOLLOWERS, RunningEnclave
from tuf.api.metadata import Delegations, MetaFile, Signed

from crimson_protocol.policy.bundle import MAX_BUNDLE, MAX_METADATA, PolicyBundle
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import cbor

BACK, EXPIRED, DIFFERS = Refusal.POLICY_WENT_BACK, Refusal.EXPIRED, Refusal.DIGEST_DIFFERS
UNSIGNED, REJECTED, MALFORMED = Refusal.BAD_SIGNATURE, Refusal.POLICY_REJECTED, Refusal.MALFORMED
TOO_LARGE = Refusal.TOO_LARGE

COURT = Court("attacks")
ONE, TWO, THREE = COURT.governors
PUBLISHER, STRANGER = COURT.publisher, Signer.named("stranger")


@dataclass(frozen=True)
class Attack:
    """What is offered, to somebody who follows `before`, at which time, and what it is refused for."""

    offered: Callable[[], PolicyBundle | bytes]
    code: Refusal
    before: Callable[[], PolicyBundle] = lambda: known(2)
    now: int = NOW


@cache
def known(serial: int, number: int | None = None) -> PolicyBundle:
    """A bundle with nothing wrong, the same bytes each time."""
    return COURT.bundle(serial, number)


def by(role: str, *signers: Signer) -> Callable[[], PolicyBundle]:
    """The next bundle, whose document of this role has other signatures."""
    return lambda: COURT.bundle(3, by={role: signers})


def edited(role: str, edit: Callable[[Signed], None], serial: int = 3) -> Callable[[], PolicyBundle]:
    """A bundle whose document of this role is altered before it is signed."""
    return lambda: COURT.bundle(serial, 3, edit={role: edit})


def mixed(**parts: str) -> Callable[[], PolicyBundle]:
    """Bundle 3 with parts of bundle 4."""
    return lambda: replace(known(3), **{part: getattr(known(4), part) for part in parts})


def named_without_digest(timestamp: Signed) -> None:
    timestamp.snapshot_meta = MetaFile(4)


def names_another_version(timestamp: Signed) -> None:
    timestamp.snapshot_meta.version = 4


def names_no_targets(snapshot: Signed) -> None:
    snapshot.meta = {}


def names_older_targets(snapshot: Signed) -> None:
    snapshot.meta["targets.json"].version = 1


def delegates(targets: Signed) -> None:
    targets.delegations = Delegations({}, {})


def lists_nothing(targets: Signed) -> None:
    targets.targets = {}


def ends_later(targets: Signed) -> None:
    targets.expires = targets.expires.replace(year=targets.expires.year + 1)


def root(*signers: Signer, **options: object) -> Callable[[], PolicyBundle]:
    """The next bundle, with a second root before it."""
    return lambda: COURT.bundle(3, roots=(COURT.roots[0], COURT.root(2, signers, **options)))


def raw(*, roots: list[bytes] | None = None, **parts: bytes) -> Callable[[], bytes]:
    """Bundle 3 with parts of any size."""

    def make() -> bytes:
        fields = ("timestamp", "snapshot", "targets", "policy")
        values = [parts.get(name, getattr(known(3), name)) for name in fields]
        return cbor.encode([list(roots or COURT.roots), *values])

    return make


def padded(data: bytes) -> bytes:
    """The same JSON, over the cap by spaces."""
    return data + b" " * (MAX_METADATA + 1 - len(data))


def repeated_signature() -> PolicyBundle:
    """One governor's signatures, each written twice."""
    bundle = COURT.bundle(3, by={"targets": [ONE]})
    head, tail = bundle.targets.split(b'"signatures": [', 1)
    signatures, rest = tail.split(b" ],", 1)
    return replace(bundle, targets=head + b'"signatures": [' + signatures + b"," + signatures + b" ]," + rest)


def another_under_the_serial() -> PolicyBundle:
    """A second policy 2, as governors who sign twice would make it."""
    return COURT.bundle(
        2, 3, policy=COURT.policy(2, operators=(), federation="federation", reopens=(), expires=NOW + 99)
    )


def older_in_newer_targets() -> PolicyBundle:
    """The policy of serial 1 in targets of version 3."""
    return COURT.bundle(3, policy=COURT.policy(1), edit={"targets": version(3)})


SECOND_ROOT = COURT.root(2, [ONE, TWO])
FOREIGN = Court("foreign")
NESTED = b'{"signed":' + b"[" * 200_000 + b"]" * 200_000 + b"}"

ATTACKS = {
    "rollback of everything": Attack(lambda: known(1), BACK),
    "rollback of the timestamp": Attack(edited("timestamp", version(1), 2), BACK),
    "rollback of the snapshot": Attack(edited("snapshot", version(1), 2), BACK),
    "rollback of the targets": Attack(edited("snapshot", names_older_targets), BACK),
    "rollback of targets and policy": Attack(lambda: COURT.bundle(1, 3), BACK),
    "rollback of the policy in newer targets": Attack(older_in_newer_targets, REJECTED),
    "rollback of the roots": Attack(
        lambda: known(3), BACK, lambda: COURT.bundle(2, roots=(COURT.roots[0], SECOND_ROOT))
    ),
    "two policies under one serial": Attack(another_under_the_serial, REJECTED),
    "freeze by an expired timestamp": Attack(edited("timestamp", expired), EXPIRED),
    "freeze by an expired snapshot": Attack(edited("snapshot", expired), EXPIRED),
    "freeze by expired targets": Attack(edited("targets", expired), EXPIRED),
    "freeze by an expired root": Attack(root(ONE, TWO, edit=expired), EXPIRED),
    "freeze by saying the same for ever": Attack(lambda: known(2), EXPIRED, now=NOW + WEEK),
    "freeze by an end that the policy does not name": Attack(edited("targets", ends_later), REJECTED),
    "mix and match: another snapshot": Attack(mixed(snapshot=""), DIFFERS),
    "mix and match: another snapshot, named without digest": Attack(
        edited("timestamp", named_without_digest), DIFFERS
    ),
    "mix and match: another version of the snapshot": Attack(
        edited("timestamp", names_another_version), DIFFERS
    ),
    "mix and match: other targets": Attack(mixed(targets=""), DIFFERS),
    "mix and match: other targets with their policy": Attack(mixed(targets="", policy=""), DIFFERS),
    "mix and match: another policy": Attack(mixed(policy=""), DIFFERS),
    "a snapshot without targets": Attack(edited("snapshot", names_no_targets), REJECTED),
    "targets without a policy": Attack(edited("targets", lists_nothing), REJECTED),
    "delegation to others": Attack(edited("targets", delegates), REJECTED),
    "too few signatures: none": Attack(by("targets"), UNSIGNED),
    "too few signatures: one of two governors": Attack(by("targets", ONE), UNSIGNED),
    "too few signatures: one governor twice": Attack(repeated_signature, MALFORMED),
    "too few signatures: Ed25519 alone": Attack(
        by("targets", *(g.only(ED25519) for g in COURT.governors)), UNSIGNED
    ),
    "too few signatures: ML-DSA alone": Attack(
        by("targets", *(g.only(ML_DSA) for g in COURT.governors)), UNSIGNED
    ),
    "too few signatures: three Ed25519 and one ML-DSA are four": Attack(
        by("targets", ONE, TWO.only(ED25519), THREE.only(ED25519)), UNSIGNED
    ),
    "too few signatures: halves of two governors": Attack(
        by("targets", ONE, TWO.only(ED25519), THREE.only(ML_DSA)), UNSIGNED
    ),
    "too few signatures: half of the publisher's on the timestamp": Attack(
        by("timestamp", PUBLISHER.only(ED25519)), UNSIGNED
    ),
    "too few signatures: half of the publisher's on the snapshot": Attack(
        by("snapshot", PUBLISHER.only(ML_DSA)), UNSIGNED
    ),
    "arbitrary key: a stranger for a governor": Attack(by("targets", ONE, STRANGER), UNSIGNED),
    "arbitrary key: a stranger under a governor's name": Attack(
        by("targets", ONE, STRANGER.calls_itself("governor-2")), UNSIGNED
    ),
    "arbitrary key: the publisher on targets": Attack(by("targets", ONE, PUBLISHER), UNSIGNED),
    "arbitrary key: a governor on the timestamp": Attack(by("timestamp", ONE), UNSIGNED),
    "arbitrary key: a governor on the snapshot": Attack(by("snapshot", ONE), UNSIGNED),
    "arbitrary key: another federation's roots": Attack(lambda: FOREIGN.bundle(3), REJECTED),
    "arbitrary key: another federation's second root": Attack(
        lambda: COURT.bundle(3, roots=(COURT.roots[0], FOREIGN.root(2, FOREIGN.governors))), UNSIGNED
    ),
    "endless roots": Attack(raw(roots=[COURT.roots[0]] * 65), MALFORMED),
    "an endless root": Attack(raw(roots=[padded(COURT.roots[0])]), MALFORMED),
    "an endless timestamp": Attack(raw(timestamp=padded(known(3).timestamp)), MALFORMED),
    "an endless snapshot": Attack(raw(snapshot=padded(known(3).snapshot)), MALFORMED),
    "endless targets": Attack(raw(targets=padded(known(3).targets)), MALFORMED),
    "an endless bundle": Attack(lambda: bytes(MAX_BUNDLE + 1), TOO_LARGE),
    "endless nesting": Attack(raw(timestamp=NESTED), MALFORMED),
    "metadata of another kind": Attack(lambda: replace(known(3), timestamp=known(3).snapshot), MALFORMED),
    "metadata that has no canonical form": Attack(
        raw(timestamp=known(3).timestamp.replace(b'"signed": {', b'"signed": {"x": 0.5,')),
        MALFORMED,
    ),
    "metadata with half a character": Attack(
        raw(targets=known(3).targets.replace(b'"signed": {', b'"signed": {"x": "\\ud800",')),
        MALFORMED,
    ),
    "a version that no state can hold": Attack(edited("timestamp", version(1 << 63)), MALFORMED),
    "no bundle at all": Attack(lambda: b"<html>a proxy's login page</html>", MALFORMED),
}


@cache
def data_of(name: str) -> tuple[bytes, bytes]:
    """What everybody follows first, and what they are offered then: the same bytes for each."""
    attack = ATTACKS[name]
    offered = attack.offered()
    return attack.before().to_bytes(), offered if isinstance(offered, bytes) else offered.to_bytes()


@pytest.mark.parametrize("follower", FOLLOWERS)
@pytest.mark.parametrize("name", ATTACKS)
def test_nobody_follows(name: str, follower: str, tmp_path, monkeypatch):
    attack, (before, offered) = ATTACKS[name], data_of(name)
    party = FOLLOWERS[follower](tmp_path / "home", COURT, monkeypatch)
    assert party.offer(before) is None
    memory = party.memory()
    assert party.offer(offered, attack.now) is attack.code
    assert party.memory() == memory
    # And what is as it should be is followed still, so nothing was broken on the way.
    following = COURT.bundle(4, roots=PolicyBundle.from_bytes(before, MAX_BUNDLE).roots).to_bytes()
    assert party.offer(following) is None
    assert party.memory() != memory


def test_an_enclave_that_is_told_nothing_new_opens_no_round(tmp_path, monkeypatch):
    """Whoever keeps a revocation from it, by silence or with the old bundle, stops it after a week."""
    enclave = RunningEnclave(tmp_path / "home", COURT, monkeypatch)
    enclave.offer(known(2).to_bytes())
    enclave.gate._session.clock = lambda: NOW + WEEK
    with pytest.raises(RefusedQuestion, match="expired"):
        enclave.client.open(1)
    assert enclave.offer(known(2).to_bytes(), NOW + WEEK) is EXPIRED
    with pytest.raises(RefusedQuestion, match="expired"):
        enclave.client.open(1)
    enclave.gate._session.clock = lambda: NOW + WEEK - 1
    with pytest.raises(RefusedQuestion, match="not-endorsed"):
        enclave.client.open(1)
