"""Who governs changes only by those who govern: every way around it, and what a proper change puts right."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.playground import FOUNDED
from tests.policy.court import ED25519, ML_DSA, Court, Signer, version
from tests.policy.followers import FOLLOWERS
from tuf.api.metadata import Key, Root, Signed

from crimson_governance.tuf_documents import party_keys
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.update import Trust
from crimson_protocol.refusal import Refusal

BACK, UNSIGNED, REJECTED = Refusal.POLICY_WENT_BACK, Refusal.BAD_SIGNATURE, Refusal.POLICY_REJECTED

COURT = Court("rotation")
ONE, TWO, THREE = COURT.governors
FOUR, FIVE, SIX = (Signer.named(f"governor-{n}") for n in (4, 5, 6))
OTHER_PUBLISHER = Signer.named("other publisher")
NEW = (THREE, FOUR, FIVE)
EVERYBODY = (*COURT.governors, *NEW)
FIRST = COURT.roots[0]
KNOWN = COURT.bundle(2).to_bytes()
ROTATED = COURT.root(2, (ONE, TWO, FOUR, FIVE), NEW)


def also_as(
    name: str, *, roles: tuple[str, ...] = ("root", "targets"), upper: bool = False
) -> Callable[[Root], None]:
    """Governor 1's keys are listed once more, for a party of this name; `upper`: written in another way."""

    def edit(root: Root) -> None:
        for key in party_keys(replace(ONE.party, name=name)):
            plain = key.to_dict()
            if upper:
                plain["keyval"] = {"public": rewritten(plain["keyval"]["public"])}
            twin = Key.from_dict(key.keyid[::-1], plain)
            for role in roles:
                root.add_key(twin, role)

    return edit


def rewritten(public: str) -> str:
    """The same key: a PEM with all its base64 in one line, hexadecimal in capital letters."""
    first, *lines = public.splitlines()
    return "\n".join([first, "".join(lines[:-1]), lines[-1], ""]) if lines else public.upper()


def without_half(root: Signed) -> None:
    """Governor 3 has no ML-DSA key."""
    for role in ("root", "targets"):
        root.revoke_key(party_keys(THREE.party)[1].keyid, role)


def threshold(number: int) -> Callable[[Signed], None]:
    def edit(root: Signed) -> None:
        root.roles["targets"].threshold = number

    return edit


def nameless(root: Signed) -> None:
    for key in root.keys.values():
        key.unrecognized_fields = {}


def second(*by: Signer, **options: object) -> tuple[bytes, ...]:
    return FIRST, COURT.root(2, by, **options)


BAD = {
    "without the old threshold": (lambda: second(ONE, FOUR, FIVE, governors=NEW), UNSIGNED),
    "without the new threshold": (lambda: second(ONE, TWO, FOUR, governors=(FOUR, FIVE, SIX)), UNSIGNED),
    "with halves of the old": (lambda: second(ONE, TWO.only(ED25519), *NEW[1:], governors=NEW), UNSIGNED),
    "three Ed25519 and one ML-DSA are four": (
        lambda: second(ONE, TWO.only(ED25519), THREE.only(ED25519)),
        UNSIGNED,
    ),
    "by the publisher": (lambda: second(ONE, COURT.publisher), UNSIGNED),
    "a version skipped": (lambda: (FIRST, COURT.root(3, EVERYBODY, NEW)), REJECTED),
    "a version twice": (lambda: (FIRST, ROTATED, ROTATED), REJECTED),
    "another first root": (lambda: (COURT.root(1, [ONE, TWO], created=FOUNDED + 1),), REJECTED),
    "one key for two parties": (lambda: second(*EVERYBODY, edit=also_as("governor-9")), REJECTED),
    "one key for two parties, in other letters": (
        lambda: second(*EVERYBODY, edit=also_as("governor-9", upper=True)),
        REJECTED,
    ),
    "two keys of one kind": (lambda: second(*EVERYBODY, edit=also_as("governor-1")), REJECTED),
    "a governor who also publishes under another name": (
        lambda: second(*EVERYBODY, edit=also_as("second publisher", roles=("snapshot", "timestamp"))),
        REJECTED,
    ),
    "a governor with one key": (lambda: second(*EVERYBODY, edit=without_half), REJECTED),
    "keys of nobody": (lambda: second(*EVERYBODY, edit=nameless), REJECTED),
    "half a party is enough": (lambda: second(*EVERYBODY, edit=threshold(1)), REJECTED),
    "one and a half are enough": (lambda: second(*EVERYBODY, edit=threshold(3)), REJECTED),
    "more than there are": (lambda: second(*EVERYBODY, edit=threshold(8)), REJECTED),
}
OFFERED: dict[str, bytes] = {}


@pytest.fixture(params=FOLLOWERS)
def party(request, tmp_path, monkeypatch):
    """Somebody who follows policy 2 under the first root."""
    follower = FOLLOWERS[request.param](tmp_path / "home", COURT, monkeypatch)
    assert follower.offer(KNOWN) is None
    return follower


def refuses(party, offered: bytes, code: Refusal) -> None:
    memory = party.memory()
    assert party.offer(offered) is code
    assert party.memory() == memory


@pytest.mark.parametrize("name", BAD)
def test_a_root_that_does_not_follow_is_refused(name: str, party):
    make, code = BAD[name]
    if name not in OFFERED:
        OFFERED[name] = COURT.bundle(3, roots=make(), by={"targets": EVERYBODY}).to_bytes()
    refuses(party, OFFERED[name], code)


def test_new_governors_take_over_and_the_old_ones_sign_nothing_more(party):
    roots = (FIRST, ROTATED)
    assert party.offer(COURT.bundle(3, roots=roots, by={"targets": NEW[:2]}).to_bytes()) is None
    refuses(party, COURT.bundle(4, roots=roots, by={"targets": (ONE, TWO)}).to_bytes(), UNSIGNED)
    # One of the old may have stayed; it counts once.
    refuses(party, COURT.bundle(4, roots=roots, by={"targets": (ONE, THREE)}).to_bytes(), UNSIGNED)
    refuses(party, COURT.bundle(4, roots=(FIRST,)).to_bytes(), BACK)
    old_third = COURT.root(3, (ONE, TWO))
    refuses(party, COURT.bundle(4, roots=(*roots, old_third)).to_bytes(), UNSIGNED)
    other_second = COURT.root(2, (ONE, TWO), created=FOUNDED + 1)
    refuses(party, COURT.bundle(4, roots=(FIRST, other_second)).to_bytes(), REJECTED)
    assert party.offer(COURT.bundle(4, roots=roots, by={"targets": NEW[1:]}).to_bytes()) is None


def test_two_rotations_at_once_are_followed_one_by_one(party):
    third = COURT.root(3, (THREE, FOUR, SIX), (FOUR, FIVE, SIX))
    roots = (FIRST, ROTATED, third)
    skipped = COURT.bundle(3, roots=(FIRST, third), by={"targets": (FIVE, SIX)})
    refuses(party, skipped.to_bytes(), UNSIGNED)
    assert party.offer(COURT.bundle(3, roots=roots, by={"targets": (FIVE, SIX)}).to_bytes()) is None


def test_a_publisher_who_ran_ahead_is_put_right_by_another_key_and_the_policy_never_goes_back(party):
    """Whoever stole the publisher's key makes every honest version look old: TUF's fast-forward attack."""
    ahead = COURT.bundle(3, 1 << 40)
    assert party.offer(ahead.to_bytes()) is None
    refuses(party, COURT.bundle(4).to_bytes(), BACK)
    roots = (FIRST, COURT.root(2, (ONE, TWO), publisher=OTHER_PUBLISHER))
    vouched = {"timestamp": [OTHER_PUBLISHER], "snapshot": [OTHER_PUBLISHER]}
    refuses(party, COURT.bundle(4, roots=roots).to_bytes(), UNSIGNED)
    refuses(party, COURT.bundle(2, 1, roots=roots, by=vouched).to_bytes(), BACK)
    assert party.offer(COURT.bundle(4, 1, roots=roots, by=vouched).to_bytes()) is None
    refuses(party, COURT.bundle(3, 2, roots=roots, by=vouched).to_bytes(), BACK)


def test_the_same_publisher_gains_nothing_from_a_new_root(party):
    """Only a change of the publisher's keys forgives versions that ran ahead."""
    assert party.offer(COURT.bundle(3, 1 << 40).to_bytes()) is None
    refuses(party, COURT.bundle(4, roots=second(ONE, TWO)).to_bytes(), BACK)


@pytest.mark.parametrize(
    ("root", "code"),
    [
        (lambda: COURT.root(2, (ONE, TWO)), REJECTED),
        (lambda: COURT.root(1, (ONE,)), UNSIGNED),
        (lambda: COURT.root(1, (g.only(ML_DSA) for g in COURT.governors)), UNSIGNED),
        (lambda: COURT.root(1, COURT.governors, edit=without_half), REJECTED),
        (lambda: COURT.root(1, COURT.governors, edit=version(1 << 63)), Refusal.MALFORMED),
        (lambda: COURT.bundle(1).targets, Refusal.MALFORMED),
        (lambda: b"{}", Refusal.MALFORMED),
    ],
)
def test_nobody_starts_from_a_first_root_that_is_none(root, code):
    with pytest.raises(PeerFault) as found:
        Trust.anchored(root())
    assert found.value.code is code
