"""A version on its way to enough signatures: a folder that governors carry to each other.

drafts/VERSION/ holds draft.json (what it was made from), the documents (policy.cbor, targets.json, and root.json
where governors change), and signatures/, one file for each governor. Whoever signs makes the documents again from
the source and compares every byte, so nothing in this folder has to be believed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crimson_governance.files import read_file, write_file
from crimson_governance.outcome import BadInput
from crimson_governance.source.folder import DRAFTS
from crimson_protocol.policy.document import MAX_POLICY

DRAFT, SIGNATURES = "draft.json", "signatures"
POLICY, TARGETS, ROOT = "policy.cbor", "targets.json", "root.json"
DOCUMENTS = (POLICY, TARGETS, ROOT)
SCHEMA, SIGNATURE_SCHEMA = "crimson/draft/1", "crimson/signatures/1"
MAX_SIGNATURES = 1 << 17
MAX_DRAFT = 1 << 20


@dataclass(frozen=True)
class Draft:
    """One version before it counts. previous: SHA-256 of the policy that it follows, None for the first. files:
    SHA-256 of every source file, all in hexadecimal. documents: what is signed, and the policy, by file name."""

    serial: int
    created: int
    previous: str | None
    files: Mapping[str, str] = field(repr=False)
    documents: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class SignatureFile:
    """What one governor gave: for each signed document, signatures by key id, both in hexadecimal. policy: SHA-256
    of the policy that they belong to."""

    governor: str
    policy: str
    documents: Mapping[str, Mapping[str, str]] = field(repr=False)


def draft_folder(source: Path, serial: int) -> Path:
    """Where the draft of a version lies."""
    return source / DRAFTS / str(serial)


def write_draft(folder: Path, draft: Draft) -> None:
    """The draft on disk. draft.json comes last: without it there is no draft."""
    (folder / SIGNATURES).mkdir(parents=True, exist_ok=True)
    for name, data in draft.documents.items():
        write_file(folder / name, data)
    for name in set(DOCUMENTS) - set(draft.documents):
        (folder / name).unlink(missing_ok=True)
    facts = {
        "schema": SCHEMA,
        "serial": draft.serial,
        "created": draft.created,
        "previous": draft.previous,
        "files": dict(draft.files),
    }
    write_file(folder / DRAFT, _json(facts))


def read_draft(folder: Path) -> Draft | None:
    """The draft in a folder; None where there is none. Raises BadInput for one that was cut or edited."""
    if not (folder / DRAFT).is_file():
        return None
    facts = _object(folder / DRAFT, MAX_DRAFT, SCHEMA)
    documents = {
        name: read_file(folder / name, MAX_POLICY) for name in DOCUMENTS if (folder / name).is_file()
    }
    serial, created, previous, files = (facts.get(key) for key in ("serial", "created", "previous", "files"))
    if not (type(serial) is int and type(created) is int and isinstance(previous, str | None)):
        raise _damaged(folder / DRAFT)
    if not isinstance(files, dict) or not {POLICY, TARGETS} <= set(documents):
        raise _damaged(folder / DRAFT)
    return Draft(serial, created, previous, {str(key): str(value) for key, value in files.items()}, documents)


def write_signature(folder: Path, name: str, signature: SignatureFile) -> Path:
    """One governor's signatures, as the file `name`."""
    facts = {
        "schema": SIGNATURE_SCHEMA,
        "governor": signature.governor,
        "policy": signature.policy,
        "documents": {key: dict(value) for key, value in signature.documents.items()},
    }
    (folder / SIGNATURES).mkdir(parents=True, exist_ok=True)
    path = folder / SIGNATURES / name
    write_file(path, _json(facts))
    return path


def read_signatures(folder: Path) -> dict[str, SignatureFile]:
    """Every signature file of a draft, by its name. Raises BadInput for a file that is none.

    Nothing is verified here: whoever counts them does that.
    """
    paths = sorted((folder / SIGNATURES).glob("*.json")) if (folder / SIGNATURES).is_dir() else []
    return {path.name: _signature(path) for path in paths}


def _signature(path: Path) -> SignatureFile:
    facts = _object(path, MAX_SIGNATURES, SIGNATURE_SCHEMA)
    governor, policy, documents = (facts.get(key) for key in ("governor", "policy", "documents"))
    if not (isinstance(governor, str) and isinstance(policy, str) and isinstance(documents, dict)):
        raise _damaged(path)
    found: dict[str, dict[str, str]] = {}
    for name, signatures in documents.items():
        if name not in (TARGETS, ROOT) or not isinstance(signatures, dict):
            raise _damaged(path)
        if not all(isinstance(key, str) and isinstance(value, str) for key, value in signatures.items()):
            raise _damaged(path)
        found[name] = signatures
    return SignatureFile(governor, policy, found)


def _object(path: Path, most: int, schema: str) -> dict[str, Any]:
    try:
        facts = json.loads(read_file(path, most))
    except (ValueError, RecursionError):
        raise _damaged(path) from None
    if not isinstance(facts, dict) or facts.get("schema") != schema:
        raise _damaged(path)
    return facts


def _damaged(path: Path) -> BadInput:
    hint = "copy the file again from whoever made it, or remove it"
    return BadInput(f"{path} was cut or edited", hint, "bad-draft")


def _json(facts: object) -> bytes:
    return (json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
