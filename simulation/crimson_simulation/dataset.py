"""One pooled CSV file to sites: a declaration, and each site's own rows as text."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from crimson_node.data.columns import event_column as read_events
from crimson_node.data.columns import time_column as read_times
from crimson_node.data.declaration import SPLIT_COLUMN, DatasetDeclaration
from crimson_node.data.errors import DataFault
from crimson_node.data.rows import Flags
from crimson_node.data.text_table import TextTable, nearest, read_text_table
from crimson_simulation.feature_columns import choose_features, declare
from crimson_simulation.site_split import Members, deal_rows, split_rows


@dataclass(frozen=True, eq=False)
class SiteTable:
    """A site's name and its rows: text columns of the declaration, and crimson_split."""

    name: str
    frame: pl.DataFrame

    def table(self) -> TextTable:
        """The rows for `crimson_node.data.table.survival_rows`, without a file."""
        return TextTable.unwritten(self.frame, self.name)


@dataclass(frozen=True, eq=False)
class PooledData:
    """Sites sorted by name, their declaration, the columns left out as identifiers, and warnings."""

    declaration: DatasetDeclaration
    sites: tuple[SiteTable, ...]
    identifiers: tuple[str, ...]
    warnings: tuple[str, ...]

    def site(self, name: str) -> SiteTable:
        """The site of this name. Raises DataFault, naming the nearest one, where there is none."""
        for site in self.sites:
            if site.name == name:
                return site
        raise DataFault("no such site", nearest(name, [site.name for site in self.sites], "sites"), site=name)


def read_pooled(
    path: Path,
    *,
    site_column: str | None = None,
    split_column: str | None = None,
    time_column: str,
    event_column: str,
    features: Sequence[str] | None = None,
    nodes: int | None = None,
    seed: int = 0,
) -> PooledData:
    """Reads the whole file and deals its rows to sites: by `site_column`, else evenly to `nodes`.

    Without `features` every column is one but site, split, time, event and identifiers (no name, named id,
    pid or *_id, or text distinct in over half the rows). Without `split_column` 30 % of each site's rows are
    held out. The seed governs the deal and the split. Raises DataFault where the file or the request cannot
    be used.
    """
    if seed < 0:
        raise DataFault("the seed is negative", "give a seed of 0 or more")
    table = read_text_table(path)
    named = (site_column, split_column, time_column, event_column)
    roles = tuple(column for column in named if column is not None)
    _check_roles(table, roles)
    chosen, identifiers = choose_features(table, roles, None if features is None else tuple(features))
    declaration, constant = declare(table, chosen, time_column, event_column)
    read_times(table, time_column)
    events = read_events(table, event_column)
    members = deal_rows(table, site_column, nodes, seed)
    train = split_rows(table, split_column, members, seed)
    notes = [f"column {name} has the same text in every row and is left out" for name in constant]
    notes += _site_notes(members, train, events)
    sites = _site_tables(table, declaration, members, train)
    return PooledData(declaration, sites, identifiers, tuple(notes))


def write_sites(pooled: PooledData, directory: Path) -> dict[str, Path]:
    """Writes one CSV file per site (site-00.csv, …, by place, whatever the name) and returns them by name.

    Files are private to the user and complete or absent.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    width = max(2, len(str(len(pooled.sites) - 1)))
    paths = {site.name: directory / f"site-{i:0{width}d}.csv" for i, site in enumerate(pooled.sites)}
    for site in pooled.sites:
        _write_whole(paths[site.name], site.frame.write_csv().encode())
    return paths


def _check_roles(table: TextTable, roles: tuple[str, ...]) -> None:
    for column in roles:
        table.require(column)
        if roles.count(column) > 1:
            hint = "site, split, time and event are four columns"
            raise table.fault("this column has two roles", hint, column)
    if not table.frame.height:
        raise table.fault("the file has no row", "give a file with at least one row per site")


def _site_notes(members: Members, train: Flags, events: Flags) -> list[str]:
    """Warnings by site. Raises DataFault for a site with no training row."""
    notes = []
    for name, rows in members:
        if not train[rows].any():
            hint = "give the site training rows or leave it out"
            raise DataFault("no usable training row", hint, site=name)
        if not events[rows][train[rows]].any():
            effect = "it takes part with a zero update and weight zero"
            notes.append(f"site {name} has no training event: {effect}")
    if train.all():
        notes.append("no row is held out: the model cannot be scored")
    return notes


def _site_tables(
    table: TextTable, declaration: DatasetDeclaration, members: Members, train: Flags
) -> tuple[SiteTable, ...]:
    split = pl.Series(SPLIT_COLUMN, np.where(train, "train", "test"))
    frame = table.frame.select(declaration.columns).with_columns(split)
    return tuple(SiteTable(name, frame[rows]) for name, rows in members)


def _write_whole(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
