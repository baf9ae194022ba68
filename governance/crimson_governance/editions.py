"""Editions from what people have at hand: a source folder, a published repository, one bundle."""

from pathlib import Path

from crimson_governance.changes.of_policy import Edition
from crimson_governance.compiler import compile_source
from crimson_governance.parties import parties_of
from crimson_governance.published import read_published
from crimson_governance.source.folder import FEDERATION, Source, read_source

DRAFT = 0
"""The serial of a source that was not signed yet."""


def source_edition(source: Source, *, now: int, serial: int = DRAFT) -> Edition:
    """What a source means as version `serial`, were it signed at `now` (Unix seconds)."""
    parties = parties_of(source)
    return Edition(f"source {source.folder}", compile_source(source, serial, now).policy, parties)


def any_edition(path: Path, now: int, serial: int = DRAFT) -> Edition:
    """The edition in a source folder, a repository or a bundle; `serial` is that of a source."""
    if (path / FEDERATION).is_file():
        return source_edition(read_source(path), now=now, serial=serial)
    return read_published(path).edition
