"""A policy repository in TUF's layout: every file that a bundle and its artifacts make, and the folder they lie in."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from tuf.api.metadata import Metadata, Snapshot, Targets

from crimson_governance.files import write_file
from crimson_protocol.policy.bundle import ARTIFACTS, POLICY_TARGET, PolicyBundle

BUNDLE = "policy.bundle"


def repository_files(bundle: PolicyBundle, artifacts: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """Content by path, in the order in which files may be written: the bundle comes last.

    artifacts: initial ones by model digest.
    """
    snapshot = Metadata[Snapshot].from_bytes(bundle.snapshot).signed.version
    targets = Metadata[Targets].from_bytes(bundle.targets).signed.version
    found = {f"targets/{hashlib.sha256(bundle.policy).hexdigest()}.{POLICY_TARGET}": bundle.policy}
    for digest, data in artifacts.items():
        found[f"targets/{ARTIFACTS}/{hashlib.sha256(data).hexdigest()}.{digest.hex()}"] = data
    found |= {f"metadata/{version}.root.json": data for version, data in enumerate(bundle.roots, 1)}
    found[f"metadata/{targets}.targets.json"] = bundle.targets
    found[f"metadata/{snapshot}.snapshot.json"] = bundle.snapshot
    found["metadata/timestamp.json"] = bundle.timestamp
    return {**found, BUNDLE: bundle.to_bytes()}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """A repository on disk. The bundle is replaced last, and whole; what is not of this version stays."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data)
    os.sync()
