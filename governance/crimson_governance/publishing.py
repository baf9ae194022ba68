"""A signed version as a TUF repository: the governors' signatures in their places, the publisher's over freshness."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, MetaFile, Signature, Snapshot, Timestamp
from tuf.api.serialization.json import JSONSerializer

from crimson_governance.compiler import DAY, artifacts_of
from crimson_governance.drafts import POLICY, ROOT, TARGETS, Draft, draft_folder, read_draft, read_signatures
from crimson_governance.outcome import BadInput, Refused
from crimson_governance.parties import Parties, Party, parties_of
from crimson_governance.published import Published
from crimson_governance.repository import repository_files, write_files
from crimson_governance.signing import FIRST, Count, counts, refuse_other_base
from crimson_governance.source.folder import Source
from crimson_governance.tuf_documents import parties_of_root, sign_document, time_of
from crimson_governance.vocabulary import listed
from crimson_protocol.policy.bundle import PolicyBundle
from crimson_protocol.policy.continuity import refuse_discontinuous
from crimson_protocol.policy.document import MAX_POLICY, Policy
from crimson_protocol.policy.soundness import refuse_unsound
from crimson_protocol.policy.update import Trust, update
from crimson_protocol.secret.keys import DualKey

_SERIALIZER = JSONSerializer(compact=False)


@dataclass(frozen=True)
class Publication:
    """What publishing makes: the bundle, its policy, who governs it, and until when it counts as fresh."""

    bundle: PolicyBundle
    policy: Policy
    parties: Parties
    fresh_until: int

    def files(self) -> dict[str, bytes]:
        """Every file of the repository, in the order in which it may be written: the bundle comes last."""
        return repository_files(self.bundle, artifacts_of(self.policy))


def next_publication(
    source: Source, published: Published | None, key: DualKey, days: int, now: int
) -> Publication:
    """The version after the published one, from its draft. `now` in Unix seconds, fresh for `days`.

    Raises BadInput where there is no draft of it. Raises Refused where signatures are missing, with the names of those
    who may give them, and for a draft that follows another version or names other governors than the source.
    """
    serial = published.policy.serial + 1 if published else FIRST
    folder = draft_folder(source.folder, serial)
    draft = read_draft(folder)
    if draft is None:
        hint = "crimson policy sign makes one"
        raise BadInput(f"there is no draft of version {serial} in {source.folder}", hint, "no-draft")
    policy = Policy.from_bytes(draft.documents[POLICY], MAX_POLICY)
    parties = _parties(source, draft, published)
    if published:
        refuse_discontinuous(published.policy, policy)
    refuse_other_base(folder, draft, published)
    refuse_unsound(policy)
    refuse_too_few(counts(folder, draft, parties, published))
    roots = published.bundle.roots if published else ()
    if ROOT in draft.documents:
        roots = (*roots, _signed(draft, folder, ROOT))
    return _fresh(roots, _signed(draft, folder, TARGETS), draft.documents[POLICY], published, key, days, now)


def refreshed(published: Published, key: DualKey, days: int, now: int) -> Publication:
    """The published version, vouched for anew. Raises Refused for another key than the publisher's."""
    bundle = published.bundle
    return _fresh(bundle.roots, bundle.targets, bundle.policy, published, key, days, now)


def write_repository(folder: Path, publication: Publication) -> None:
    """The repository on disk. The bundle is replaced last, and whole; what is not of this version stays."""
    write_files(folder, publication.files())


def refuse_too_few(found: list[Count]) -> None:
    """Raise Refused where a document has too few signatures, with the names of those who have not signed."""
    lacking = [count for count in found if not count.enough]
    if lacking:
        names = sorted({name for count in lacking for name in count.missing})
        text = "; ".join(count.sentence() for count in lacking)
        hint = f"ask {listed(names)} to sign: crimson policy sign"
        raise Refused(f"too few signatures: {text}", hint, "too-few-signatures")


def _fresh(
    roots: tuple[bytes, ...],
    targets: bytes,
    policy: bytes,
    published: Published | None,
    key: DualKey,
    days: int,
    now: int,
) -> Publication:
    parties = parties_of_root(roots[-1])
    publisher = parties.publisher
    if key.public != publisher.public:
        hint = f"sign with the key of {publisher.name}, whom federation.yaml names as publisher"
        raise Refused("this key is not the publisher's", hint, "unknown-publisher")
    known = Policy.from_bytes(policy, MAX_POLICY)
    versions = _versions(published)
    expires = time_of(now + days * DAY)
    snapshot = Snapshot(
        version=versions[0] + 1, expires=expires, meta={"targets.json": MetaFile(known.serial)}
    )
    snapshot_bytes = _vouched(snapshot, publisher, key)
    digest = hashlib.sha256(snapshot_bytes).hexdigest()
    meta = MetaFile(snapshot.version, len(snapshot_bytes), {"sha256": digest})
    timestamp = Timestamp(version=versions[1] + 1, expires=expires, snapshot_meta=meta)
    timestamp_bytes = _vouched(timestamp, publisher, key)
    bundle = PolicyBundle(roots, timestamp_bytes, snapshot_bytes, targets, policy)
    # Whatever is wrong is found here, and not by every node.
    verified = update(Trust.anchored(roots[0]), bundle.to_bytes(), now)
    return Publication(bundle, verified.policy, parties, verified.fresh_until)


def _versions(published: Published | None) -> tuple[int, int]:
    if published is None:
        return 0, 0
    bundle = published.bundle
    snapshot = Metadata[Snapshot].from_bytes(bundle.snapshot).signed.version
    return snapshot, Metadata[Timestamp].from_bytes(bundle.timestamp).signed.version


def _signed(draft: Draft, folder: Path, name: str) -> bytes:
    """A document with everybody's signatures on it."""
    given: dict[str, str] = {}
    for signature in read_signatures(folder).values():
        given |= signature.documents.get(name, {})
    return _with_signatures(draft.documents[name], given)


def _vouched(signed: Snapshot | Timestamp, publisher: Party, key: DualKey) -> bytes:
    metadata: Metadata[Any] = Metadata(signed)
    document = metadata.to_bytes(_SERIALIZER)
    return _with_signatures(document, sign_document(document, publisher, key))


def _with_signatures(document: bytes, signatures: Mapping[str, str]) -> bytes:
    metadata: Metadata[Any] = Metadata.from_bytes(document)
    for identifier, value in sorted(signatures.items()):
        metadata.signatures[identifier] = Signature(identifier, value)
    return metadata.to_bytes(_SERIALIZER)


def _parties(source: Source, draft: Draft, published: Published | None) -> Parties:
    """Who governs by a draft. A root is believed only where the publisher's own source names the same parties."""
    if ROOT in draft.documents:
        parties = parties_of_root(draft.documents[ROOT])
        if parties != parties_of(source):
            hint = "put federation.yaml back as it was signed, or get the right draft"
            raise Refused("the draft names other governors than this source", hint, "source-changed")
        return parties
    if published is None:
        raise BadInput("the first draft has no root", "remove the draft, and sign anew", "bad-draft")
    return published.parties
