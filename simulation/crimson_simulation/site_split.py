"""Which rows of a pooled file belong to which site, and which of a site's rows are held out."""

import numpy as np
import numpy.typing as npt

from crimson_node.data.columns import filled_cells
from crimson_node.data.errors import DataFault
from crimson_node.data.rows import Flags
from crimson_node.data.text_table import TextTable

MINIMUM_SITES = 3
# A stream of its own for dealing rows to nodes, apart from those of the sites' splits.
_DEALING_STREAM = 2**32 - 1

Members = list[tuple[str, npt.NDArray[np.int64]]]


def deal_rows(table: TextTable, site_column: str | None, nodes: int | None, seed: int) -> Members:
    """Sites and their row numbers, sorted by name: by the column, else evenly to that many nodes.

    Raises DataFault where both or neither are given, or where fewer than MINIMUM_SITES sites come out.
    """
    if site_column is not None and nodes is None:
        return _members_by_column(table, site_column)
    if nodes is not None and site_column is None:
        return _members_dealt(table.frame.height, nodes, seed)
    raise DataFault("sites are given twice or not at all", "give a site column or a number of nodes")


def split_rows(table: TextTable, split_column: str | None, members: Members, seed: int) -> Flags:
    """True where a row is for training (rows,): by the column, else drawn for each site."""
    if split_column is not None:
        return _train_by_column(table, split_column)
    return _train_drawn(table.frame.height, members, seed)


def _members_by_column(table: TextTable, column: str) -> Members:
    names = filled_cells(table, column).to_numpy()
    sites = [(str(name), np.flatnonzero(names == name).astype(np.int64)) for name in sorted(set(names))]
    if len(sites) < MINIMUM_SITES:
        message = f"{len(sites)} sites in this column"
        raise table.fault(message, f"a federation needs at least {MINIMUM_SITES} sites", column)
    return sites


def _members_dealt(height: int, nodes: int, seed: int) -> Members:
    """`height` rows dealt evenly to `nodes` sites after a seeded shuffle. Raises DataFault if too few."""
    if nodes < MINIMUM_SITES:
        raise DataFault(f"{nodes} nodes asked for", f"a federation needs at least {MINIMUM_SITES} sites")
    if nodes > height:
        raise DataFault(f"{height} rows cannot fill {nodes} nodes", "ask for fewer nodes")
    shuffled = np.random.default_rng([seed, _DEALING_STREAM]).permutation(height).astype(np.int64)
    width = max(2, len(str(nodes - 1)))
    return [(f"node-{i:0{width}d}", np.sort(part)) for i, part in enumerate(np.array_split(shuffled, nodes))]


def _train_by_column(table: TextTable, column: str) -> Flags:
    """True for training rows (rows,): cells that contain "train", against "test", in any case.

    Raises DataFault at a cell that contains neither or both.
    """
    cells = filled_cells(table, column).str.to_lowercase()
    train, test = cells.str.contains("train", literal=True), cells.str.contains("test", literal=True)
    wrong = (train == test).arg_true()
    if len(wrong):
        hint = "every cell of the split column contains train or test"
        raise table.fault("this cell names neither train nor test, or both", hint, column, int(wrong[0]))
    return train.to_numpy()


def _train_drawn(height: int, members: Members, seed: int) -> Flags:
    """True for training rows (height,): 30 % of each site, rounded down, are drawn as held out.

    The draw of a site depends on the seed and the site's place alone; four rows or more give at least one.
    """
    train = np.ones(height, dtype=np.bool_)
    for index, (_, rows) in enumerate(members):
        held_out = np.random.default_rng([seed, index]).permutation(len(rows))[: len(rows) * 3 // 10]
        train[rows[held_out]] = False
    return train
