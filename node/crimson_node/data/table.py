"""One site's file, read and checked against the dataset's declaration."""

from pathlib import Path

import numpy as np

from crimson_node.data.columns import event_column, numeric_column, one_hot_columns, time_column, train_column
from crimson_node.data.declaration import SPLIT_COLUMN, DatasetDeclaration
from crimson_node.data.rows import SurvivalRows
from crimson_node.data.text_table import TextTable, read_text_table


def load_site(path: Path, declaration: DatasetDeclaration, site: str) -> SurvivalRows:
    """Reads a site's CSV file with the declared columns and `crimson_split` (train or test).

    Columns that are not declared are ignored. Raises DataFault with site, column and line where the file
    cannot be used; it never quotes a cell.
    """
    return survival_rows(read_text_table(path, site), declaration)


def survival_rows(table: TextTable, declaration: DatasetDeclaration) -> SurvivalRows:
    """The table's rows as numbers. Raises DataFault as `load_site` does."""
    for column in (*declaration.columns, SPLIT_COLUMN):
        table.require(column)
    if not table.frame.height:
        raise table.fault("the file has no row", "a site needs at least one row to take part")
    blocks = [numeric_column(table, column)[:, None] for column in declaration.numeric]
    blocks += [one_hot_columns(table, column, levels) for column, levels in declaration.categorical]
    rows = SurvivalRows(
        features=np.concatenate(blocks, axis=1),
        time=time_column(table, declaration.time_column),
        event=event_column(table, declaration.event_column),
        train=train_column(table),
    )
    if not rows.train.any():
        raise table.fault("no row is for training", "a site needs at least one training row", SPLIT_COLUMN)
    return rows
