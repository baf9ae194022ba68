"""Signing a version, governor by governor, each over bytes that their own machine made from the source.

A draft's documents follow from the source, the published version and the time at which it was begun; so they are made
again wherever somebody signs, and whatever differs is refused before a key is touched.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crimson_governance.compiler import compile_source
from crimson_governance.drafts import (
    DOCUMENTS,
    POLICY,
    ROOT,
    TARGETS,
    Draft,
    SignatureFile,
    draft_folder,
    read_draft,
    read_signatures,
    write_draft,
    write_signature,
)
from crimson_governance.outcome import Damaged, Refused
from crimson_governance.parties import Parties, Party, parties_of
from crimson_governance.published import Published
from crimson_governance.source.folder import Source
from crimson_governance.tuf_documents import sign_document, unsigned_root, unsigned_targets, whole_pairs
from crimson_governance.vocabulary import listed
from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.policy.continuity import refuse_discontinuous
from crimson_protocol.secret.keys import DualKey

FIRST = 1
CLOCKS_APART = 86_400
"""Seconds by which the clock of whoever signed first may be ahead."""


@dataclass(frozen=True)
class Count:
    """Who signed one document, of those who may, and how many must."""

    what: str
    signed: tuple[str, ...]
    missing: tuple[str, ...]
    needed: int

    @property
    def enough(self) -> bool:
        """Whether the document counts."""
        return len(self.signed) >= self.needed

    def sentence(self) -> str:
        """The count in words."""
        lack = "" if self.enough else f"; {self.needed - len(self.signed)} more of {listed(self.missing)}"
        return f"{self.what}: {len(self.signed)} of {self.needed} ({listed(self.signed)}){lack}"


def make_draft(source: Source, published: Published | None, created: int) -> Draft:
    """The draft of the version after the published one, begun at `created` (Unix seconds).

    Raises BadSource and BadInput as the compiler does, PolicyRefusal where the version could not follow the published
    one.
    """
    serial = published.policy.serial + 1 if published else FIRST
    compiled = compile_source(source, serial, created)
    if published:
        refuse_discontinuous(published.policy, compiled.policy)
    documents = {
        POLICY: compiled.policy.to_bytes(),
        TARGETS: unsigned_targets(compiled.policy, compiled.artifacts),
    }
    parties = parties_of(source)
    if published is None or parties != published.parties:
        version = published.root_version + 1 if published else FIRST
        documents[ROOT] = unsigned_root(parties, version, created)
    previous = published.policy.digest().hex() if published else None
    return Draft(serial, created, previous, source.digests(), documents)


def open_draft(source: Source, published: Published | None, now: int) -> Draft:
    """The draft to sign: the one that was begun, if it is what the source says, else a new one.

    Raises Refused(source-changed) where others signed and the source is another since, Damaged(draft-altered) where
    the draft is not what the same source gives.
    """
    serial = published.policy.serial + 1 if published else FIRST
    folder = draft_folder(source.folder, serial)
    begun = read_draft(folder)
    if begun is None or not read_signatures(folder):
        draft = make_draft(source, published, now)
        write_draft(folder, draft)
        return draft
    refuse_other_base(folder, begun, published)
    if begun.created > now + CLOCKS_APART:
        hint = "set this machine's clock, or get the folder again from whoever signed first"
        raise Damaged(f"{folder} was begun in the future", hint, "draft-altered")
    made = make_draft(source, published, begun.created)
    if begun.documents != made.documents:
        changed = _changed(begun.files, made.files)
        if changed:
            hint = f"put them back as they were, or remove {folder} and let everybody sign anew"
            raise Refused(f"changed since the first signature: {listed(changed)}", hint, "source-changed")
        hint = "get the folder again from whoever signed first, or remove it and sign anew"
        raise Damaged(f"{folder} is not what this source gives", hint, "draft-altered")
    return begun


def refuse_other_base(folder: Path, draft: Draft, published: Published | None) -> None:
    """Raise Refused where a draft follows another version than the published one."""
    if draft.previous != (published.policy.digest().hex() if published else None):
        hint = f"get what is published now, or remove {folder} and sign anew"
        raise Refused(f"{folder} does not follow what is published", hint, "stale-draft")


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def sign_draft(source: Source, published: Published | None, draft: Draft, key: DualKey) -> Path:
    """A governor's signatures, written beside those of the others. Raises Refused for a key of nobody who may sign."""
    signatures = {
        name: sign_document(draft.documents[name], party, key)
        for name, party in _roles(source, published, draft, key.public).items()
    }
    party = next(iter(_roles(source, published, draft, key.public).values()))
    policy = hashlib.sha256(draft.documents[POLICY]).hexdigest()
    folder = draft_folder(source.folder, draft.serial)
    return write_signature(folder, _file_name(party), SignatureFile(party.name, policy, signatures))


def _roles(source: Source, published: Published | None, draft: Draft, public: DualPublic) -> dict[str, Party]:
    """What a key may sign of a draft, and as whom."""
    now = parties_of(source).governor(public)
    before = published.parties.governor(public) if published else None
    roles: dict[str, Party] = {}
    if now is not None:
        roles[TARGETS] = now
    if ROOT in draft.documents and (party := now or before) is not None:
        roles[ROOT] = party
    if not roles:
        hint = "sign with the key of a governor whom federation.yaml names"
        raise Refused("this key is no governor's of this version", hint, "unknown-governor")
    return roles


def _file_name(party: Party) -> str:
    """A governor's file. A governor whose key changes has two."""
    key = hashlib.sha256(party.public.to_bytes()).hexdigest()[:8]
    return f"{party.name}-{key}.json"


def counts(folder: Path, draft: Draft, parties: Parties, published: Published | None) -> list[Count]:
    """Who signed what. Raises Damaged for a signature file that belongs to another draft or does not hold."""
    held: dict[str, dict[str, str]] = {name: {} for name in DOCUMENTS}
    policy = hashlib.sha256(draft.documents[POLICY]).hexdigest()
    before = published.parties if published else parties
    everybody = {_file_name(party): party for party in (*before.governors, *parties.governors)}
    for name, signature in read_signatures(folder).items():
        _check(name, signature, draft, policy, everybody.get(name))
        for document, values in signature.documents.items():
            held[document] |= values
    found = [_count("the policy", draft.documents[TARGETS], parties, held[TARGETS])]
    if ROOT in draft.documents:
        found.append(_count("the new root, by its own governors", draft.documents[ROOT], parties, held[ROOT]))
        if published:
            title = "the new root, by the governors so far"
            found.append(_count(title, draft.documents[ROOT], before, held[ROOT]))
    return found


def _check(name: str, signature: SignatureFile, draft: Draft, policy: str, party: Party | None) -> None:
    hint = "copy it again from its governor, or remove it and let them sign this draft"
    if signature.policy != policy:
        raise Damaged(f"{name} signs another draft than this one", hint, "foreign-signature")
    for document, values in signature.documents.items():
        known = draft.documents.get(document)
        if known is None or party is None or not whole_pairs(known, {party.name: party}, values):
            raise Damaged(f"{name} does not hold for {document}", hint, "foreign-signature")


def _count(what: str, document: bytes, parties: Parties, signatures: Mapping[str, str]) -> Count:
    candidates = {party.name: party for party in parties.governors}
    signed = whole_pairs(document, candidates, signatures)
    missing = tuple(name for name in candidates if name not in signed)
    return Count(what, tuple(sorted(signed)), missing, parties.threshold)
