"""A pooled file to sites: features, split, sites, warnings, and what every unusable request is told."""

import stat
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crimson_node.data.errors import DataFault
from crimson_node.data.table import load_site, survival_rows
from crimson_node.data.text_table import TextTable
from crimson_simulation.dataset import read_pooled, write_sites
from crimson_simulation.site_split import split_rows

COLUMNS = ("pid", "site", "stage", "age", "days", "died")


def pooled_text(sites=("b", "a", "c"), per_site=10, **cells) -> str:
    """A pooled file; `cells` maps column_row to another cell, rows counted from 0."""
    lines = [",".join(COLUMNS)]
    for row in range(per_site * len(sites)):
        site = sites[row % len(sites)]
        plain = [str(row), site, "I" if row % 3 else "II", str(40 + row % 7), str(row + 1), str(row % 2)]
        lines.append(
            ",".join(cells.get(f"{name}_{row}", cell) for name, cell in zip(COLUMNS, plain, strict=True))
        )
    return "\n".join(lines) + "\n"


def read(folder: Path, text: str, **options):
    path = folder / "pooled.csv"
    path.write_text(text)
    given_options = {"time_column": "days", "event_column": "died"} | options
    if "nodes" not in options:
        given_options.setdefault("site_column", "site")
    return read_pooled(path, **given_options)


def fault_of(folder: Path, text: str, **options) -> DataFault:
    with pytest.raises(DataFault) as caught:
        read(folder, text, **options)
    assert caught.value.hint
    return caught.value


def test_sites_features_and_split(tmp_path) -> None:
    pooled = read(tmp_path, pooled_text())
    assert [site.name for site in pooled.sites] == ["a", "b", "c"]
    assert pooled.declaration.numeric == ("age",)
    assert pooled.declaration.categorical == (("stage", ("I", "II")),)
    assert pooled.identifiers == ("pid",) and pooled.warnings == ()
    for site in pooled.sites:
        assert site.frame.columns == ["days", "died", "age", "stage", "crimson_split"]
        assert sorted(site.frame["crimson_split"]) == ["test"] * 3 + ["train"] * 7


def test_written_sites_load_as_the_tables_in_memory(tmp_path) -> None:
    pooled = read(tmp_path, pooled_text())
    paths = write_sites(pooled, tmp_path / "sites")
    assert {name: path.name for name, path in paths.items()} == {
        "a": "site-00.csv",
        "b": "site-01.csv",
        "c": "site-02.csv",
    }
    assert stat.S_IMODE((tmp_path / "sites").stat().st_mode) == 0o700
    for site in pooled.sites:
        assert stat.S_IMODE(paths[site.name].stat().st_mode) == 0o600
        written = load_site(paths[site.name], pooled.declaration, site.name)
        kept = survival_rows(site.table(), pooled.declaration)
        assert np.array_equal(written.features, kept.features) and np.array_equal(written.train, kept.train)
        assert np.array_equal(written.time, kept.time) and np.array_equal(written.event, kept.event)
    assert len(list((tmp_path / "sites").iterdir())) == 3


def test_a_site_name_never_reaches_a_file_name(tmp_path) -> None:
    pooled = read(tmp_path, pooled_text(sites=("../up", "a/b", "c")))
    paths = write_sites(pooled, tmp_path / "sites")
    assert all(path.parent == tmp_path / "sites" and path.name.startswith("site-") for path in paths.values())


def test_the_seed_governs_the_split_and_the_deal(tmp_path) -> None:
    def split(seed, **options):
        pooled = read(tmp_path, pooled_text(), seed=seed, **options)
        return [site.frame.rows() for site in pooled.sites]

    assert split(1) == split(1) != split(2)
    assert split(1, nodes=4) == split(1, nodes=4) != split(2, nodes=4)


def test_nodes_share_the_rows_evenly(tmp_path) -> None:
    pooled = read(tmp_path, pooled_text(), nodes=4, features=["age"])
    assert [site.name for site in pooled.sites] == ["node-00", "node-01", "node-02", "node-03"]
    assert [site.frame.height for site in pooled.sites] == [8, 8, 7, 7]
    days = sorted(int(day) for site in pooled.sites for day in site.frame["days"])
    assert days == list(range(1, 31))


def with_column(name: str, cells: list[str], text: str | None = None) -> str:
    """The pooled file with one more column in front."""
    lines = (text or pooled_text()).strip().split("\n")
    return "\n".join(f"{cell},{line}" for cell, line in zip([name, *cells], lines, strict=True)) + "\n"


def test_a_split_column_is_read_by_what_its_cells_contain(tmp_path) -> None:
    text = with_column("fold", ["fold-TEST" if row % 5 == 0 else "Train_0" for row in range(30)])
    pooled = read(tmp_path, text, split_column="fold")
    held_out = {day for site in pooled.sites for day, *_, split in site.frame.rows() if split == "test"}
    assert held_out == {str(row + 1) for row in range(0, 30, 5)}
    assert "fold" not in pooled.declaration.columns


@given(st.integers(1, 60), st.integers(0, 2**32))
def test_thirty_per_cent_are_held_out_and_four_rows_suffice(height, seed) -> None:
    table = TextTable.unwritten(pl.DataFrame({"x": ["1"] * height}))
    train = split_rows(table, None, [("a", np.arange(height, dtype=np.int64))], seed)
    assert (~train).sum() == height * 3 // 10
    assert height < 4 or 0 < (~train).sum() < height


@pytest.mark.parametrize("name", ["ID", "Pid", "patient_ID", ""])
def test_identifiers_are_known_by_name(tmp_path, name) -> None:
    text = with_column(name, ["7"] * 30, pooled_text().replace("pid", "weight", 1))
    pooled = read(tmp_path, text)
    assert pooled.identifiers == (name,) and pooled.declaration.numeric == ("weight", "age")


def test_text_distinct_in_over_half_the_rows_identifies(tmp_path) -> None:
    pooled = read(tmp_path, with_column("code", [f"x{row // 2 if row > 25 else row}" for row in range(30)]))
    assert pooled.identifiers == ("code", "pid")
    assert read(tmp_path, with_column("code", [f"x{row // 2}" for row in range(30)])).identifiers == ("pid",)


def test_requested_features_are_taken_as_they_stand(tmp_path) -> None:
    pooled = read(tmp_path, pooled_text(), features=["pid", "age"])
    assert pooled.declaration.numeric == ("pid", "age") and pooled.declaration.categorical == ()
    assert pooled.identifiers == ()


def test_a_column_with_few_numbers_is_text(tmp_path) -> None:
    pooled = read(tmp_path, with_column("grade", ["1", "2", "x"] * 5 + ["x"] * 15))
    assert ("grade", ("1", "2", "x")) in pooled.declaration.categorical


def test_text_that_never_changes_is_left_out_with_a_warning(tmp_path) -> None:
    pooled = read(tmp_path, with_column("country", ["X"] * 30))
    assert pooled.warnings == ("column country has the same text in every row and is left out",)
    assert "country" not in pooled.declaration.columns


def test_a_site_with_no_training_event_is_kept_and_named(tmp_path) -> None:
    censored = {f"died_{row}": "0" for row in range(1, 30, 3)}
    pooled = read(tmp_path, pooled_text(**censored))
    assert len(pooled.sites) == 3
    assert pooled.warnings == (
        "site a has no training event: it takes part with a zero update and weight zero",
    )


def test_nothing_held_out_is_warned_of(tmp_path) -> None:
    pooled = read(tmp_path, with_column("split", ["train"] * 30), split_column="split")
    assert pooled.warnings == ("no row is held out: the model cannot be scored",)


@pytest.mark.parametrize(
    ("cell", "value", "message"),
    [
        ("age_4", "old31415", "not a number"),
        ("age_4", "inf", "not a finite number"),
        ("age_4", "", "empty"),
        ("stage_4", "", "empty"),
        ("site_4", "", "empty"),
        ("days_4", "soon31415", "not a number"),
        ("days_4", "-1", "below 0"),
        ("died_4", "31415", "neither 0 nor 1"),
    ],
)
def test_a_bad_cell_is_named_by_column_and_line_and_never_quoted(tmp_path, cell, value, message) -> None:
    fault = fault_of(tmp_path, pooled_text(**{cell: value}))
    assert (fault.column, fault.row) == (cell.split("_")[0], 6)
    assert message in fault.message and "31415" not in str(fault)


@pytest.mark.parametrize("cell", ["31415", "train and test", ""])
def test_a_split_cell_that_says_nothing_is_refused(tmp_path, cell) -> None:
    text = with_column("split", ["train", cell] + ["test"] * 28)
    fault = fault_of(tmp_path, text, split_column="split")
    assert (fault.column, fault.row) == ("split", 3) and "31415" not in str(fault)


@pytest.mark.parametrize(
    ("options", "column", "hint"),
    [
        ({"time_column": "day"}, "day", "did you mean days?"),
        ({"event_column": "Died?"}, "Died?", "did you mean died?"),
        ({"site_column": "sit"}, "sit", "did you mean site?"),
        ({"split_column": "sites"}, "sites", "did you mean site?"),
        ({"features": ["agee"]}, "agee", "did you mean age?"),
        ({"features": ["zzz"]}, "zzz", "columns known here: pid, site, stage, age, days, died"),
    ],
)
def test_a_missing_column_is_told_the_nearest_one(tmp_path, options, column, hint) -> None:
    fault = fault_of(tmp_path, pooled_text(), **options)
    assert (fault.column, fault.hint) == (column, hint)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": ["days"]}, "another role"),
        ({"features": ["age", "age"]}, "named twice"),
        ({"features": []}, "no column is left"),
        ({"time_column": "died"}, "two roles"),
        ({"nodes": 4, "site_column": "site"}, "given twice or not at all"),
        ({"nodes": None}, "given twice or not at all"),
        ({"nodes": 2}, "2 nodes asked for"),
        ({"nodes": 31}, "30 rows cannot fill 31 nodes"),
        ({"seed": -1}, "seed is negative"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(tmp_path, options, message) -> None:
    assert message in fault_of(tmp_path, pooled_text(), **options).message


def test_fewer_than_three_sites_are_refused(tmp_path) -> None:
    fault = fault_of(tmp_path, pooled_text(sites=("a", "b")))
    assert fault.message == "2 sites in this column" and fault.column == "site"


def test_no_row_is_refused(tmp_path) -> None:
    assert "no row" in fault_of(tmp_path, ",".join(COLUMNS) + "\n").message


def test_a_site_with_no_training_row_is_refused(tmp_path) -> None:
    text = with_column("split", ["test" if row % 3 == 1 else "train" for row in range(30)])
    fault = fault_of(tmp_path, text, split_column="split")
    assert fault.message == "no usable training row" and fault.site == "a"


def test_an_unknown_site_is_told_the_nearest_one(tmp_path) -> None:
    pooled = read(tmp_path, pooled_text(sites=("north", "south", "west")))
    assert pooled.site("west").name == "west"
    with pytest.raises(DataFault) as caught:
        pooled.site("sout")
    assert caught.value.hint == "did you mean south?"
