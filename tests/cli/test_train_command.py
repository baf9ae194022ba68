"""What people and programs see of `crimson train`: exit codes, the envelope, and errors with a next step."""

import json
import os
from pathlib import Path

import pytest

from crimson_protocol.launcher import main
from crimson_simulation.run_folder import run_folder

ROWS = 40


def table(change: dict[int, str] | None = None, columns: str = "site,time,event,age,score") -> str:
    """A pooled CSV of four sites; `change` replaces whole lines by number, header included."""
    lines = [columns]
    for row in range(ROWS):
        lines.append(f"{'ABCD'[row % 4]},{1 + (row * 7) % 23},{row % 3 % 2},{40 + row},{(row * 5) % 11}")
    for number, line in (change or {}).items():
        lines[number - 1] = line
    return "\n".join(lines) + "\n"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    """No settings of the machine that runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def train(tmp_path: Path, capfd):
    """Runs the command on a table; gives exit code, stdout and stderr."""

    def run(text: str, *options: str, roles: bool = True) -> tuple[int, str, str]:
        data = tmp_path / "units.csv"
        data.write_text(text)
        columns = (
            ["--site-column", "site", "--time-column", "time", "--event-column", "event"] if roles else []
        )
        where = ["--out", str(tmp_path / "out"), "--engine", "inline"]
        code = main(["train", "--data", str(data), *columns, *where, *options])
        shown = capfd.readouterr()
        return code, shown.out, shown.err

    return run


def error_of(out: str) -> dict[str, str]:
    """The error of a failed envelope, which must be the only thing on stdout."""
    envelope = json.loads(out)
    assert envelope["ok"] is False and envelope["data"] is None
    assert all(envelope["error"][key] for key in ("code", "message", "hint", "doc"))
    return envelope["error"]


BAD_TABLES = {
    "wrong column": (table(columns="site,time,happened,age,score"), "column event"),
    "non-numeric cell": (table({7: "B,12,1,forty,3"}), "line 7"),
    "not a number": (table({7: "B,12,1,nan,3"}), "line 7"),
    "empty cell": (table({9: "D,12,1,,3"}), "line 9"),
    "infinite time": (table({5: "A,inf,1,44,3"}), "line 5"),
    "negative time": (table({5: "A,-4,1,44,3"}), "line 5"),
    "event of two": (table({6: "A,4,2,44,3"}), "line 6"),
    "no rows": ("site,time,event,age,score\n", "no row"),
    "two sites": (table().replace("\nC,", "\nA,").replace("\nD,", "\nB,"), "site"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_unusable_data_is_named_by_place_and_never_quoted(train, name):
    text, place = BAD_TABLES[name]
    code, out, _ = train(text, "--json", "--rounds", "1")
    assert code == 8
    error = error_of(out)
    assert error["code"] == "data-check-failed"
    assert place in error["message"]
    assert "forty" not in out


BAD_OPTIONS = [
    (["--rounds", "0"], 4, "bad-option"),
    (["--rounds", "many"], 4, "usage"),
    (["--no-such-option"], 4, "usage"),
    (["--drop", "1"], 4, "bad-option"),
    (["--learning-rate", "nan"], 4, "bad-option"),
    (["--nodes", "5"], 4, "bad-option"),
    (["--weights", "some"], 4, "bad-option"),
    (["--model", "forecast"], 4, "bad-option"),
    (["--engine", "ray"], 4, "bad-option"),
    (["--attack", "sign-flop:0.2"], 4, "bad-option"),
    (["--attack", "sign-flip:2"], 4, "bad-option"),
    (["--attack", "alie:0.2", "--engine", "processes"], 4, "bad-option"),
    (["--attack", "sketch-liars:0.2", "--engine", "processes"], 4, "bad-option"),
    (["--hidden", "8"], 4, "bad-option"),
    (["--model", "hazard", "--hidden", "eight"], 4, "bad-option"),
    (["--batch", "8"], 4, "bad-option"),
    (["--clip", "0"], 4, "bad-option"),
    (["--dp", "record", "--epsilon", "0"], 4, "bad-option"),
    (["--dp", "record"], 5, "unsound-policy"),
    (["--dp", "node", "--delta", "0.5"], 4, "bad-option"),
    (["--dp", "node", "--strategy", "fednova"], 5, "unsound-policy"),
    (["--dp", "patient"], 4, "bad-option"),
    (["--dp-noise", "nodes"], 4, "bad-option"),
    (["--dp", "node", "--dp-noise", "nodes"], 4, "bad-option"),
    (["--dp", "record", "--dp-noise", "buckets"], 4, "bad-option"),
    (["--strategy", "fastest"], 4, "bad-option"),
    (["--strategy", "median"], 5, "unsound-policy"),
    (["--strategy", "krum", "--bucket-size", "2", "--dp", "node"], 5, "unsound-policy"),
    (["--sketch", "256"], 5, "unsound-policy"),
    (["--bucket-size", "9"], 5, "unsound-policy"),
]


@pytest.mark.parametrize(("options", "exit_code", "error_code"), BAD_OPTIONS)
def test_options_that_cannot_be_used_are_refused_with_a_next_step(train, options, exit_code, error_code):
    code, out, err = train(table(), "--json", *options)
    assert (code, error_of(out)["code"]) == (exit_code, error_code)
    assert "Traceback" not in out + err


def test_a_missing_file_and_a_missing_option(tmp_path, capfd):
    arguments = ["--site-column", "a", "--time-column", "t", "--event-column", "e", "--json"]
    assert main(["train", "--data", str(tmp_path / "none.csv"), *arguments]) == 4
    assert error_of(capfd.readouterr().out)["code"] == "bad-option"
    assert main(["train", "--json"]) == 4
    assert "--data" in error_of(capfd.readouterr().out)["message"]


def test_people_get_text_on_stderr_and_nothing_on_stdout(train):
    code, out, err = train(table(), "--rounds", "0")
    assert code == 4 and out == ""
    assert "next:" in err and "\x1b[" not in err


def test_a_site_without_an_event_takes_part_with_a_warning(train):
    text = table({number: f"B,{number},0,{40 + number},1" for number in range(3, ROWS + 2, 4)})
    code, out, _ = train(text, "--json", "--rounds", "2")
    summary = json.loads(out)["data"]
    assert code == 0 and summary["sum_matches_plain"] is True
    assert any("site B has no training event" in warning for warning in summary["warnings"])
    assert summary["metric"]["local_by_site"]["B"] is None


def test_a_declared_disclosure_is_warned_about(train):
    code, out, _ = train(table(), "--json", "--rounds", "1", "--bucket-size", "2")
    summary = json.loads(out)["data"]
    assert code == 0 and summary["sum_matches_plain"] is True
    assert "small-buckets" in summary["policy"]["disclosures"]
    assert any("small buckets" in warning for warning in summary["warnings"])


def test_sites_add_noise_of_their_own_and_a_median_is_taken_of_it(train):
    private = (
        "--model",
        "hazard",
        "--dp",
        "record",
        "--dp-noise",
        "nodes",
        "--rounds",
        "2",
        "--local-steps",
        "3",
    )
    code, out, _ = train(table(), "--json", *private, "--strategy", "median", "--bucket-size", "1")
    summary = json.loads(out)["data"]
    assert code == 0 and summary["sum_matches_plain"] is True
    spent = summary["privacy"]
    assert (spent["noise"], spent["charged_steps"], spent["releases"]) == ("nodes", 3, 2)
    assert 7.9 < spent["epsilon"] <= spent["budget"] == 8
    assert summary["robust"]["rule"] == "median"


@pytest.mark.parametrize(
    ("noise", "place"), [("release", "in the enclave"), ("nodes", "in every local step")]
)
def test_people_read_where_noise_enters_and_how_often_it_is_charged(train, noise, place):
    private = ("--model", "hazard", "--dp", "record", "--dp-noise", noise, "--rounds", "2")
    code, out, _ = train(table(), *private, "--dry-run")
    assert code == 0 and place in out
    assert ("5 events each" in out) is (noise == "nodes")


def test_the_forecast_trains_nothing(train, tmp_path):
    code, out, _ = train(table(), "--dry-run", "--json")
    expected = json.loads(out)["data"]
    assert code == 0 and not (tmp_path / "out").exists()
    assert (expected["nodes"], expected["threshold"], expected["quorum"], expected["drops_tolerated"]) == (
        4,
        3,
        3,
        0,
    )


def test_the_launcher_names_what_is_installed(capfd):
    assert main([]) == 0
    assert "train" in capfd.readouterr().out
    assert main(["fly"]) == 4
    assert "no command 'fly'" in capfd.readouterr().err


def test_an_output_folder_keeps_what_no_run_made(train, tmp_path):
    """Only `run/` is emptied, and only where a run made it."""
    kept = [tmp_path / "out" / "nodes" / "mine.txt", tmp_path / "out" / "enclave" / "mine.py"]
    for path in kept:
        path.parent.mkdir(parents=True)
        path.write_text("mine")
    assert train(table(), "--json", "--rounds", "1")[0] == 0
    assert train(table(), "--json", "--rounds", "1")[0] == 0
    assert [path.read_text() for path in kept] == ["mine", "mine"]
    (tmp_path / "out" / "run" / ".crimson-run").unlink()
    code, out, _ = train(table(), "--json", "--rounds", "1")
    assert code == 4 and "not made by an earlier run" in error_of(out)["message"]


def test_two_runs_never_share_a_folder(train, tmp_path):
    with run_folder(tmp_path / "out"):
        code, out, _ = train(table(), "--json", "--rounds", "1")
    assert code == 4 and "another run" in error_of(out)["message"]
