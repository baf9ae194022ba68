"""Real processes: HTTPS, sandbox, one process per site. The result is the inline one, and nothing shows or stays."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from crimson_simulation.demo_data import SITES, write_whas500

REQUIRED = {
    "own-process",
    "network-namespace",
    "pid-namespace",
    "mount-namespace",
    "no-network",
    "read-only-files",
    "landlock-files",
    "seccomp",
    "no-program",
    "no-child-process",
    "no-tracing",
    "not-dumpable",
    "no-core-dump",
    "environment-cleared",
}


def crimson(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The launcher, as a shell would run it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FL_")}
    return subprocess.run(
        [sys.executable, "-m", "crimson_protocol.launcher", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def train(data: Path, out: Path, *options: str) -> dict:
    """`crimson train` on the demonstration's file; its summary."""
    done = crimson(
        "train", "--data", str(data), "--site-column", "site", "--time-column", "time", "--event-column", "event",
        "--out", str(out), "--json", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["data"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whas500") / "whas500.csv"
    write_whas500(path)
    return path


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[dict, Path]:
    out = tmp_path_factory.mktemp("demo")
    done = crimson("demo", "--out", str(out), "--rounds", "2", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["data"], out


def test_the_demo_runs_isolated_processes(demo):
    summary, out = demo
    assert summary["engine"] == "processes" and summary["nodes"] == len(SITES)
    assert summary["evidence"]["isolated"] is True and summary["evidence"]["simulated"] is True
    assert {name for name, held in summary["evidence"]["measures"].items() if held} >= REQUIRED
    assert summary["sum_matches_plain"] is True
    assert summary["receipts"] == 4 and summary["log"]["verified"] is True
    assert all(summary["bytes"][name] > 0 for name in ("control_up", "vectors_up", "down"))
    assert (out / "model.safetensors").exists() and len(list((out / "receipts").iterdir())) == 4


def test_no_process_of_a_finished_demo_is_left(demo):
    _, out = demo
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                line = (process / "cmdline").read_bytes()
            except OSError:
                continue
            assert str(out).encode() not in line, line


def test_processes_and_inline_give_the_same_model(data, tmp_path):
    """Equal weights and one round: rounding moves a mean by less than one quantum in each engine."""
    options = ("--rounds", "1", "--weights", "equal", "--features", "age,bmi,hr,sysbp")
    runs = {
        engine: train(data, tmp_path / engine, "--engine", engine, *options)
        for engine in ("processes", "inline")
    }
    models = [load_file(tmp_path / engine / "model.safetensors")["coefficients"] for engine in runs]
    policy = runs["inline"]["policy"]
    quantum = policy["clip"] / 2 ** policy["value_bits"]
    assert np.abs(models[0] - models[1]).max() <= 2 * quantum
    assert runs["processes"]["metric"]["centralised"] == runs["inline"]["metric"]["centralised"]


def test_sites_that_are_really_killed_do_not_change_what_the_sum_is(data, tmp_path):
    options = ("--rounds", "2", "--drop", "0.17", "--features", "age,bmi,hr")
    summary = train(data, tmp_path, *options)
    assert summary["sum_matches_plain"] is True
    assert [entry["phase"] for entry in summary["dropped"]] == ["share", "share"]


def test_a_run_that_loses_its_quorum_ends_with_the_reason(data, tmp_path):
    done = crimson(
        "train", "--data", str(data), "--site-column", "site", "--time-column", "time", "--event-column", "event",
        "--out", str(tmp_path), "--json", "--rounds", "1", "--drop", "0.6", "--features", "age",
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] in ("cohort-too-small", "too-few-confirmations")
    assert not (tmp_path / "summary.json").exists()
