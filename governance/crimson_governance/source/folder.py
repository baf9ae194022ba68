"""The source folder, read once: every file that counts, as bytes, with the forms that they fill in.

A symbolic link could point anywhere and be turned between two looks, so there are none; each file is opened
once, without following one, and nothing is read from the disk again afterwards.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from crimson_governance.outcome import BadSource
from crimson_governance.source.forms import FederationForm, RosterForm
from crimson_governance.source.model_forms import ModelForm
from crimson_governance.source.reading import Filled, fill
from crimson_governance.source.yaml_tree import MAX_YAML, Place
from crimson_protocol.wire import cbor

FEDERATION, ROSTER, MODELS = "federation.yaml", "roster.yaml", "models"
ACCESS, SCHEMA = "access.cedar", "access.cedarschema"
DRAFTS = "drafts"
MAX_ACCESS, MAX_SCHEMA, MAX_KEY = 64 << 10, 16 << 10, 16 << 10


@dataclass(frozen=True)
class Source:
    """What a folder says. `files` holds the bytes of every file that counts, by its path within the folder."""

    folder: Path
    files: Mapping[str, bytes] = field(repr=False)
    federation: Filled[FederationForm] = field(repr=False)
    roster: Filled[RosterForm] = field(repr=False)
    models: Mapping[str, Filled[ModelForm]] = field(repr=False)

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file that counts, in hexadecimal: what a draft remembers of its source."""
        return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(self.files.items())}

    def digest(self) -> str:
        """One SHA-256 over all of them, in hexadecimal."""
        return hashlib.sha256(cbor.encode([list(item) for item in self.digests().items()])).hexdigest()

    def text(self, name: str) -> str:
        """A file as text. Raises BadSource where it is no UTF-8, or its lines end as on Windows.

        The text is signed as it is, so it must be the same on every machine.
        """
        try:
            found = self.files[name].decode()
        except UnicodeDecodeError:
            raise BadSource(f"{name} is not UTF-8 text", "save the file as UTF-8") from None
        if "\r" in found:
            hint = "save the file with line feeds alone"
            raise BadSource(f"{name} has carriage returns at the ends of lines", hint)
        return found


def read_source(folder: Path) -> Source:
    """Everything in a source folder. Raises BadSource, BadYaml, OSError."""
    if not (folder / FEDERATION).is_file():
        raise BadSource(
            f"{folder} holds no {FEDERATION}", "name a source folder, or make one: crimson policy init"
        )
    _refuse_links(folder)
    files = {
        FEDERATION: _read(folder, FEDERATION, MAX_YAML),
        ROSTER: _read(folder, ROSTER, MAX_YAML),
        ACCESS: _read(folder, ACCESS, MAX_ACCESS),
        SCHEMA: _read(folder, SCHEMA, MAX_SCHEMA),
    }
    federation = fill(FederationForm, FEDERATION, files[FEDERATION])
    models = {}
    for path in _model_files(folder):
        files[path] = _read(folder, path, MAX_YAML)
        filled = fill(ModelForm, path, files[path])
        if filled.form.model != PurePosixPath(path).name.removesuffix(".yaml"):
            raise filled.fault(
                ("model",), f"the file of {filled.form.model} must be {filled.form.model}.yaml"
            )
        models[filled.form.model] = filled
    for path in _key_files(federation):
        files[path] = _read(folder, path, MAX_KEY)
    return Source(folder, files, federation, fill(RosterForm, ROSTER, files[ROSTER]), models)


def _model_files(folder: Path) -> list[str]:
    """The files below models/; one that would be passed over in silence is an error."""
    if not (folder / MODELS).is_dir():
        return []
    names = sorted(path.name for path in (folder / MODELS).iterdir() if not path.name.startswith("."))
    for name in names:
        if not name.endswith(".yaml"):
            raise BadSource(
                f"{MODELS}/{name} is no model: files there are called MODEL.yaml", "rename or move it"
            )
    return [f"{MODELS}/{name}" for name in names]


def _key_files(federation: Filled[FederationForm]) -> list[str]:
    """Every file of public keys that federation.yaml names."""
    form = federation.form
    named: list[tuple[Place, str]] = [
        (("governors", place, "keys"), party.keys) for place, party in enumerate(form.governors)
    ]
    named.append((("publisher", "keys"), form.publisher.keys))
    roots = form.evidence.simulated_roots
    named += [(("evidence", "simulated_roots", place), path) for place, path in enumerate(roots)]
    for place, path in named:
        parts = PurePosixPath(path).parts
        if path.startswith("/") or not parts or ".." in parts or parts[0] == DRAFTS:
            raise federation.fault(place, f"{path!r} must be the path of a file within this folder")
    return sorted({path for _, path in named})


def _refuse_links(folder: Path) -> None:
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(parent, name)
            if path.is_symlink():
                shown = path.relative_to(folder)
                raise BadSource(f"{shown} is a symbolic link", "put the file itself there", "source-link")


def _read(folder: Path, name: str, most: int) -> bytes:
    """A file's bytes. Raises BadSource where it is not there, not a plain file, a link, or too long."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BadSource(f"{name} is not in {folder}", _missing_hint(name)) from None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BadSource(f"{name} is not a plain file", "put a file there")
        data = file.read(most + 1)
    if len(data) > most:
        raise BadSource(f"{name} is longer than {most} bytes", "split or shorten it")
    return data


def _missing_hint(name: str) -> str:
    if name in (FEDERATION, ROSTER, ACCESS, SCHEMA):
        return "crimson policy init writes one to start from"
    return "ask its owner for the public file that `crimson policy key new` wrote, or give another path"
