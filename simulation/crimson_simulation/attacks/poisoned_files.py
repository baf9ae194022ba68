"""Who poisons rows runs an honest node on a file of its own making: the site's, with some cells changed."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from crimson_node.data.declaration import DatasetDeclaration
from crimson_node.data.rows import Floats, SurvivalRows
from crimson_node.data.text_table import read_text_table
from crimson_node.durable import make_folder, write_file
from crimson_simulation.attacks.carried_out import CarriedOut
from crimson_simulation.attacks.registry import OPTION
from crimson_simulation.options import BadOption
from crimson_simulation.parties import Parties
from crimson_simulation.policy_writer import MODEL


def poisoned(parties: Parties, attack: CarriedOut, folder: Path) -> Parties:
    """The parties, with new files in `folder` for whoever attacks with rows."""
    files = list(parties.files)
    declaration = parties.plan(MODEL).declaration
    for index, (honest, rows) in enumerate(zip(parties.rows, attack.rows(parties.rows), strict=True)):
        if rows is not honest:
            content = rewritten(files[index], declaration, honest, rows)
            make_folder(folder)
            files[index] = folder / f"{index:03d}.csv"
            write_file(files[index], content)
    return replace(parties, files=tuple(files))


def rewritten(file: Path, declaration: DatasetDeclaration, honest: SurvivalRows, rows: SurvivalRows) -> bytes:
    """A site's file, which held `honest`, with the times, events and numbers of `rows`.

    Raises BadOption where rows differ in a column of levels: no text stands for what is none of them.
    """
    numbers = len(declaration.numeric)
    if (honest.features[:, numbers:] != rows.features[:, numbers:]).any():
        raise BadOption(
            f"{OPTION} plants a number, and the first feature is text",
            "give --features, with a number among them",
        )
    columns = {declaration.time_column: rows.time, declaration.event_column: rows.event.astype(float)}
    columns |= dict(zip(declaration.numeric, rows.features.T, strict=False))
    changed = [pl.Series(name, _text(values)) for name, values in columns.items()]
    return read_text_table(file, "").frame.with_columns(changed).write_csv().encode()


def _text(values: Floats) -> list[str]:
    """Digits that read back as the very same numbers."""
    return [repr(float(value)) for value in values]
