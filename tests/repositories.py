"""Policies on disk for tests: the repository as it is published, and what a home holds of it."""

from collections.abc import Iterable
from pathlib import Path

from tests.playground import Parties

from crimson_governance.repository import repository_files, write_files
from crimson_protocol.policy.bundle import MAX_BUNDLE, PolicyBundle
from crimson_protocol.transcript import model_digest


def write_repository(home: Path, parties: Parties, artifacts: Iterable[bytes] = ()) -> None:
    """`root.json`, and the published repository in `policy/`, with the initial artifacts."""
    (home / "policy" / "targets" / "artifacts").mkdir(parents=True, exist_ok=True)
    (home / "root.json").write_bytes(parties.first_root)
    named = {model_digest(artifact): artifact for artifact in artifacts}
    write_files(home / "policy", repository_files(PolicyBundle.from_bytes(parties.signed, MAX_BUNDLE), named))
