"""From a bundle and what is trusted so far to the policy that counts. There is no other way to a `Policy`.

The client workflow of the TUF specification (1.0.34, section 5) on bytes alone: no network, no clock, no file.
Numbers in comments are that specification's; docs/PROTOCOL.md, "Policy", lists them as steps P1 to P9.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Annotated, TypeVar

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError, SerializationError

from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.bundle import MAX_BUNDLE, MAX_METADATA, POLICY_TARGET, PolicyBundle
from crimson_protocol.policy.document import MAX_POLICY, Policy
from crimson_protocol.policy.quorum import refuse_too_few, refuse_unpaired
from crimson_protocol.policy.soundness import refuse_unsound
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.records import BytesUpTo, Count, Digest, Maybe, Nested, Record

TARGETS_FILE = "targets.json"
# As far as a Count goes, which is what Trust keeps of a version.
_LAST_VERSION = 2**63 - 1
# JSON's parser descends into brackets by recursion; metadata needs six levels.
_DEEPEST = 16
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONLINE = (Snapshot.type, Timestamp.type)

Kind = TypeVar("Kind", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True)
class Versions(Record):
    """How far the metadata came: versions of timestamp, snapshot and targets, and the policy's digest."""

    timestamp: Count
    snapshot: Count
    targets: Count
    policy: Digest


@dataclass(frozen=True)
class Trust(Record):
    """What a party remembers between updates.

    anchor: SHA-256 of the first root, by which the federation is known. root: the newest root. seen: None before
    the first policy. serial: the highest policy ever followed, which no change of keys takes back.
    """

    anchor: Digest
    root: Annotated[bytes, BytesUpTo(MAX_METADATA)] = field(repr=False)
    seen: Annotated[Versions | None, Maybe(Nested(Versions))]
    serial: Count

    @classmethod
    def anchored(cls, root: bytes) -> "Trust":
        """Trust in a first root that was handed over out of band. Raises PeerFault."""
        document = _parsed(Root, root)
        if document.signed.version != 1:
            raise PeerFault(Refusal.POLICY_REJECTED, f"root {document.signed.version} is not the first")
        refuse_unpaired(document.signed)
        refuse_too_few(document.signed, Root.type, document)
        return cls(anchor_of(root), root, None, 0)


@dataclass(frozen=True)
class Verified:
    """The policy, what to remember, and until when (Unix seconds) it counts as fresh."""

    policy: Policy
    trust: Trust
    fresh_until: int


def anchor_of(root: bytes) -> bytes:
    """The digest by which a federation's first root is known."""
    return hashlib.sha256(root).digest()


def update(trust: Trust, data: bytes, now: int) -> Verified:
    """The verified, sound policy in a bundle, at `now` (Unix seconds).

    Raises PeerFault: MALFORMED, TOO_LARGE (endless data), BAD_SIGNATURE (too few), POLICY_WENT_BACK (rollback),
    EXPIRED (freeze), DIGEST_DIFFERS (mix and match), POLICY_REJECTED; and PolicyRefusal(UNSOUND_POLICY).
    """
    # P1: size and shape before anything is looked at.
    bundle = PolicyBundle.from_bytes(data, MAX_BUNDLE)
    root, current = _update_root(trust, bundle.roots, now)
    seen = trust.seen
    if seen is not None and _keys_changed(_parsed(Root, trust.root).signed, root):
        # 5.3.11, P3: versions that a stolen key ran ahead with end with that key; the policy's serial stays.
        seen = Versions(0, 0, seen.targets, seen.policy)
    timestamp, snapshot = _update_freshness(root, bundle, seen, now)
    targets = _update_targets(root, snapshot, bundle.targets, seen, now)
    policy = _policy(targets, bundle.policy)
    if policy.serial < trust.serial:
        raise _went_back("policy", policy.serial, trust.serial)
    if seen is not None and policy.serial == seen.targets and policy.digest() != seen.policy:
        raise PeerFault(Refusal.POLICY_REJECTED, f"two policies carry serial {policy.serial}", "governors")
    # P9: no unsound combination, whoever signed it.
    refuse_unsound(policy)
    versions = Versions(timestamp.version, snapshot.version, targets.version, policy.digest())
    after = replace(trust, root=current, seen=versions, serial=policy.serial)
    ends = (_end(root), _end(timestamp), _end(snapshot), policy.expires)
    return Verified(policy, after, min(ends))


def _update_root(trust: Trust, roots: tuple[bytes, ...], now: int) -> tuple[Root, bytes]:
    """5.3, P2: from the trusted root to the newest, each signed by the one before and by itself."""
    document, data = _parsed(Root, trust.root), trust.root
    for place, offered in enumerate(roots, 1):
        if place <= document.signed.version:
            if place == document.signed.version and offered != data:
                raise PeerFault(Refusal.POLICY_REJECTED, f"root {place} is another than the trusted one")
            continue
        following = _parsed(Root, offered)
        # 5.3.4: by a threshold of the old keys and of the new. 5.3.5: exactly the next version.
        refuse_too_few(document.signed, Root.type, following)
        refuse_unpaired(following.signed)
        refuse_too_few(following.signed, Root.type, following)
        if following.signed.version != place:
            raise PeerFault(
                Refusal.POLICY_REJECTED, f"root {following.signed.version} stands in place {place}"
            )
        document, data = following, offered
    # A bundle that ends before the trusted root hides a change of keys.
    if len(roots) < document.signed.version:
        raise _went_back("root", len(roots), document.signed.version)
    # 5.3.10: only the last must be unexpired.
    _refuse_expired(document.signed, now)
    return document.signed, data


def _update_freshness(
    root: Root, bundle: PolicyBundle, seen: Versions | None, now: int
) -> tuple[Timestamp, Snapshot]:
    """5.4 and 5.5, P4 and P5: which versions are current, as the publisher vouched for a short while."""
    timestamp = _parsed(Timestamp, bundle.timestamp)
    # 5.4.2 to 5.4.4: signatures, rollback, freeze.
    refuse_too_few(root, Timestamp.type, timestamp)
    named = timestamp.signed.snapshot_meta
    if seen is not None:
        if timestamp.signed.version < seen.timestamp:
            raise _went_back("timestamp", timestamp.signed.version, seen.timestamp)
        if named.version < seen.snapshot:
            raise _went_back("snapshot", named.version, seen.snapshot)
    _refuse_expired(timestamp.signed, now)
    # 5.5.2 to 5.5.4: the very snapshot that the timestamp names.
    try:
        named.verify_length_and_hashes(bundle.snapshot)
    except LengthOrHashMismatchError as error:
        text = "the snapshot is not the one that the timestamp names"
        raise PeerFault(Refusal.DIGEST_DIFFERS, text) from error
    snapshot = _parsed(Snapshot, bundle.snapshot)
    refuse_too_few(root, Snapshot.type, snapshot)
    if snapshot.signed.version != named.version:
        raise PeerFault(Refusal.DIGEST_DIFFERS, f"snapshot {snapshot.signed.version}, {named.version} named")
    # 5.5.6: freeze. Rollback of what it lists (5.5.5) is checked with the targets.
    _refuse_expired(snapshot.signed, now)
    return timestamp.signed, snapshot.signed


def _update_targets(root: Root, snapshot: Snapshot, data: bytes, seen: Versions | None, now: int) -> Targets:
    """5.6, P6: the governors' list of files, in the version that the snapshot names."""
    named = snapshot.meta.get(TARGETS_FILE)
    if named is None:
        raise PeerFault(Refusal.POLICY_REJECTED, "the snapshot names no targets")
    if seen is not None and named.version < seen.targets:
        raise _went_back("targets", named.version, seen.targets)
    try:
        named.verify_length_and_hashes(data)
    except LengthOrHashMismatchError as error:
        raise PeerFault(Refusal.DIGEST_DIFFERS, "the targets are not the snapshot's") from error
    targets = _parsed(Targets, data)
    refuse_too_few(root, Targets.type, targets)
    if targets.signed.version != named.version:
        raise PeerFault(Refusal.DIGEST_DIFFERS, f"targets {targets.signed.version}, {named.version} named")
    _refuse_expired(targets.signed, now)
    if targets.signed.delegations is not None:
        raise PeerFault(Refusal.POLICY_REJECTED, "targets delegate to others, which no federation does")
    return targets.signed


def _policy(targets: Targets, data: bytes) -> Policy:
    """5.7, P7 and P8: the file that the governors listed, which says of itself what the metadata says of it."""
    named = targets.targets.get(POLICY_TARGET)
    if named is None or "sha256" not in named.hashes:
        raise PeerFault(Refusal.POLICY_REJECTED, f"the targets list no {POLICY_TARGET}")
    try:
        named.verify_length_and_hashes(data)
    except LengthOrHashMismatchError as error:
        raise PeerFault(Refusal.DIGEST_DIFFERS, "the policy is not the one that was signed") from error
    policy = Policy.from_bytes(data, MAX_POLICY)
    if (policy.serial, policy.expires) != (targets.version, _end(targets)):
        raise PeerFault(
            Refusal.POLICY_REJECTED, "the policy names another version or end than its signatures"
        )
    return policy


def _parsed(kind: type[Kind], data: bytes) -> Metadata[Kind]:
    """Metadata of the expected kind from bounded bytes. Raises PeerFault(TOO_LARGE, MALFORMED)."""
    if len(data) > MAX_METADATA:
        raise PeerFault(Refusal.TOO_LARGE, f"TUF metadata of more than {MAX_METADATA} bytes")
    if _depth(data) > _DEEPEST:
        raise PeerFault(Refusal.MALFORMED, "TUF metadata nests too deep")
    try:
        document = Metadata[Kind].from_bytes(data)
        # What signatures cover: a fraction or half a character is JSON, and has no canonical form.
        _ = document.signed_bytes
    except (DeserializationError, SerializationError, RecursionError, ValueError) as error:
        raise PeerFault(Refusal.MALFORMED, f"not TUF metadata of kind {kind.__name__}") from error
    if not isinstance(document.signed, kind):
        raise PeerFault(Refusal.MALFORMED, f"TUF metadata of another kind than {kind.__name__}")
    if document.signed.version > _LAST_VERSION:
        raise PeerFault(Refusal.MALFORMED, "TUF metadata of a version beyond every count")
    return document


def _depth(data: bytes) -> int:
    deepest = now = 0
    for byte in data.translate(None, _NO_BRACKET):
        if byte in b"[{":
            now += 1
            deepest = max(deepest, now)
        elif byte in b"]}":
            now -= 1
    return deepest


def _keys_changed(before: Root, after: Root) -> bool:
    return any(set(before.roles[role].keyids) != set(after.roles[role].keyids) for role in _ONLINE)


def _end(signed: Signed) -> int:
    return int(signed.expires.timestamp())


def _refuse_expired(signed: Signed, now: int) -> None:
    if now >= _end(signed):
        raise PeerFault(Refusal.EXPIRED, f"{signed.type} {signed.version} has expired")


def _went_back(what: str, version: int, seen: int) -> PeerFault:
    text = f"{what} {version} is older than {seen}, seen before"
    return PeerFault(Refusal.POLICY_WENT_BACK, text)
