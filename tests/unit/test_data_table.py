"""One site's file against its declaration: what is read, and what every unusable file is told."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crimson_node.data.declaration import DatasetDeclaration
from crimson_node.data.errors import DataFault
from crimson_node.data.table import load_site
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal

HEADER = "age,group,days,died,crimson_split\n"
GOOD = "50,b,10,1,train\n61.5,a,12.5,false,test\n"
DECLARATION = DatasetDeclaration("days", "died", ("age",), (("group", ("a", "b", "c")),))
SECRET = "31415"


def load(folder: Path, text: str | bytes):
    path = folder / "rows.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_site(path, DECLARATION, "north")


def fault_of(folder: Path, text: str | bytes) -> DataFault:
    with pytest.raises(DataFault) as caught:
        load(folder, text)
    assert caught.value.site == "north" and caught.value.hint
    assert SECRET not in str(caught.value)
    return caught.value


def test_a_good_file_becomes_numbers(tmp_path) -> None:
    rows = load(tmp_path, HEADER + GOOD)
    assert rows.features.tolist() == [[50.0, 1.0, 0.0], [61.5, 0.0, 0.0]]
    assert rows.features.dtype == rows.time.dtype == np.float64
    assert rows.time.tolist() == [10.0, 12.5]
    assert rows.event.tolist() == [True, False]
    assert rows.train.tolist() == [True, False]
    assert len(rows.training()) == len(rows.held_out()) == 1


def test_blanks_byte_order_mark_line_ends_and_further_columns_do_not_matter(tmp_path) -> None:
    text = "\ufeff extra,age , group,days,died,crimson_split\r\n\r\nx, 50,b ,10,TRUE,train\r\n,,,,,\r\n"
    rows = load(tmp_path, text)
    assert rows.features.tolist() == [[50.0, 1.0, 0.0]] and rows.event.tolist() == [True]


def test_time_zero_is_a_time(tmp_path) -> None:
    assert load(tmp_path, HEADER + "50,b,0,0,train\n").time.tolist() == [0.0]


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        (f"x{SECRET},a,1,1,train", "age", "not a number"),
        ("nan,a,1,1,train", "age", "not a finite number"),
        ("-inf,a,1,1,train", "age", "not a finite number"),
        (",a,1,1,train", "age", "empty"),
        ("50,,1,1,train", "group", "empty"),
        (f"50,{SECRET},1,1,train", "group", "not declared"),
        (f"50,a,-{SECRET},1,train", "days", "below 0"),
        ("50,a,inf,1,train", "days", "not a finite number"),
        ("50,a,,1,train", "days", "empty"),
        (f"50,a,1,{SECRET},train", "died", "neither 0 nor 1"),
        ("50,a,1,,train", "died", "empty"),
        (f"50,a,1,1,{SECRET}", "crimson_split", "neither train nor test"),
        ("50,a,1,1", "crimson_split", "empty"),
    ],
)
def test_a_bad_cell_is_named_by_column_and_line_and_never_quoted(tmp_path, row, column, message) -> None:
    fault = fault_of(tmp_path, HEADER + GOOD + row + "\n")
    assert (fault.column, fault.row) == (column, 4)
    assert message in fault.message


def test_the_line_counts_blank_lines_and_cells_over_several_lines(tmp_path) -> None:
    text = "\nnote," + HEADER + '"one\ntwo",50,b,10,1,train\n\n,x,b,10,1,train\n'
    assert fault_of(tmp_path, text).row == 6


@pytest.mark.parametrize("column", ["age", "group", "days", "died", "crimson_split"])
def test_a_missing_column_is_told_the_nearest_one(tmp_path, column) -> None:
    fault = fault_of(tmp_path, HEADER.replace(column, column.upper() + "s") + GOOD)
    assert fault.column == column and fault.hint == f"did you mean {column.upper()}s?"


def test_a_missing_column_with_nothing_like_it_is_told_what_there_is(tmp_path) -> None:
    fault = fault_of(tmp_path, "q1,q2,q3,q4,q5,q6,q7,q8,q9\n" + ",".join("1" * 9) + "\n")
    assert fault.hint == "columns known here: q1, q2, q3, q4, q5, q6, q7, q8, …"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "no row"),
        (HEADER + ",,,,\n\n", "no row"),
        (HEADER + "50,a,1,1,test\n", "no row is for training"),
        ("", "empty"),
        (b"\xff\xfe\x00", "cannot be read"),
        (HEADER + f"50,a,1,1,train,{SECRET},{SECRET}\n", "does not read as one table"),
        (HEADER + f'"{SECRET},a,1,1,train\n50,a,1,1,train\n', "does not read as one table"),
        ("age," + HEADER + "50," + GOOD, "two columns have this name"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, text, message) -> None:
    assert message in fault_of(tmp_path, text).message


def test_a_missing_file_is_refused(tmp_path) -> None:
    with pytest.raises(DataFault, match=r"absent\.csv cannot be read"):
        load_site(tmp_path / "absent.csv", DECLARATION, "north")


def test_a_fault_says_where_and_survives_pickling() -> None:
    fault = DataFault("wrong", "do this", site="north", column="age", row=7)
    assert str(fault) == "site north, column age, line 7: wrong (do this)"
    assert str(pickle.loads(pickle.dumps(fault))) == str(fault)
    assert str(DataFault("wrong", "do this")) == "wrong (do this)"


@pytest.mark.parametrize(
    ("numeric", "categorical", "message"),
    [
        (("age", "age"), (), "two roles"),
        (("days",), (), "two roles"),
        (("crimson_split",), (), "reserved"),
        ((), (("group", ("b", "a")),), "not sorted"),
        ((), (("group", ("a", "a")),), "not sorted"),
        (("age",), (("group", ()),), "not sorted"),
        ((), (("group", ("a",)),), "no feature"),
        ((), (), "no feature"),
    ],
)
def test_an_unsound_declaration_is_refused(numeric, categorical, message) -> None:
    with pytest.raises(DataFault, match=message):
        DatasetDeclaration("days", "died", numeric, categorical)


def test_feature_names_follow_the_features() -> None:
    assert DECLARATION.feature_names == ("age", "group=b", "group=c")
    assert DECLARATION.dimension == 3


names = st.lists(st.text(min_size=1), min_size=4, max_size=8, unique=True).filter(
    lambda some: "crimson_split" not in some
)


@given(names, st.sets(st.text(min_size=1), min_size=2))
def test_a_declaration_survives_its_plain_form(some, levels) -> None:
    coded = ((some[2], tuple(sorted(levels))),)
    declaration = DatasetDeclaration(some[0], some[1], tuple(some[3:]), coded)
    assert DatasetDeclaration.from_plain(declaration.to_plain()) == declaration
    assert len(declaration.feature_names) == declaration.dimension


@pytest.mark.parametrize(
    "change",
    [
        {"numeric": "age"},
        {"numeric": [1]},
        {"numeric": [""]},
        {"time_column": None},
        {"extra": 1},
        {"categorical": [{"column": "group"}]},
        {"categorical": ["group"]},
        {"categorical": [{"column": "group", "levels": ["b", "a"]}]},
    ],
)
def test_a_malformed_plain_declaration_is_the_senders_fault(change) -> None:
    with pytest.raises(PeerFault) as caught:
        DatasetDeclaration.from_plain(DECLARATION.to_plain() | change)
    assert caught.value.code is Refusal.MALFORMED


def test_something_else_is_no_declaration() -> None:
    with pytest.raises(PeerFault):
        DatasetDeclaration.from_plain([])
