"""`crimson train` on real patients: the secure path gives what plain averaging gives, and says what it did."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from crimson_node.data.rows import SurvivalRows
from crimson_node.data.table import survival_rows
from crimson_node.learning import cox
from crimson_node.learning.cox import CoxPlan
from crimson_node.learning.standardise import Standardiser
from crimson_protocol.wire import cbor
from crimson_simulation.dataset import read_pooled
from crimson_simulation.demo_data import SITES, write_whas500
from crimson_simulation.pooled_metrics import pooled

ROUNDS = 4
KEYS = {"schema", "model", "strategy", "rounds", "nodes", "dropped", "secure", "sum_matches_plain"} | {
    "evidence",
    "privacy",
    "metric",
    "seconds",
    "bytes",
    "receipts",
    "log",
    "warnings",
}


def crimson(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The launcher, as a shell would run it."""
    command = [
        sys.executable,
        "-c",
        "import sys; from crimson_protocol.launcher import main; sys.exit(main())",
    ]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whas500") / "whas500.csv"
    write_whas500(path)
    return path


@pytest.fixture(scope="module")
def finished(hospitals, tmp_path_factory) -> tuple[dict, Path]:
    out = tmp_path_factory.mktemp("run")
    done = crimson(
        "train", "--data", str(hospitals), "--site-column", "site", "--time-column", "time", "--event-column", "event",
        "--rounds", str(ROUNDS), "--engine", "inline", "--out", str(out), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    envelope = json.loads(done.stdout)
    assert envelope["ok"] and envelope["error"] is None
    return envelope["data"], out


def plain_averaging(hospitals: Path) -> tuple[np.ndarray, list[SurvivalRows]]:
    """Federated averaging in float64, weighted by rows, with nothing secure about it."""
    data = read_pooled(hospitals, site_column="site", time_column="time", event_column="event")
    sites = [survival_rows(site.table(), data.declaration) for site in data.sites]
    features = np.concatenate([rows.training().features for rows in sites])
    scale = Standardiser.from_moments(len(features), features.sum(axis=0), np.square(features).sum(axis=0))
    sites = [rows.with_features(scale.apply(rows.features)) for rows in sites]
    plan, theta = CoxPlan(5, 0.1, 0.01), np.zeros(data.declaration.dimension)
    weights = np.array([len(rows.training()) for rows in sites], float)
    for _ in range(ROUNDS):
        changes = np.array([cox.train(theta, rows, plan) - theta for rows in sites])
        theta = theta + weights @ changes / weights.sum()
    return theta, sites


def test_the_summary_has_every_key_and_was_measured(finished):
    summary, out = finished
    assert set(summary) >= KEYS
    assert summary == json.loads((out / "summary.json").read_text())
    assert summary["nodes"] == len(SITES) and summary["rounds"] == ROUNDS
    assert summary["secure"] is True and summary["sum_matches_plain"] is True
    assert summary["evidence"] == {**summary["evidence"], "kind": "sim", "simulated": True, "isolated": False}
    assert summary["privacy"] is None and summary["dropped"] == []
    assert summary["metric"]["sitewise"]["sites_scored"] == len(SITES)
    assert len(summary["metric"]["local"]) == len(SITES)


def test_secure_and_plain_averaging_agree(finished, hospitals):
    summary, out = finished
    theta, sites = plain_averaging(hospitals)
    released = load_file(out / "model.safetensors")["coefficients"]
    # One quantum is clip / 2^value_bits; a mean over weights of at least a fifth of the cap widens it.
    quantum = summary["policy"]["clip"] / 2 ** summary["policy"]["value_bits"]
    assert np.abs(released - theta).max() < 10 * ROUNDS * quantum
    together = SurvivalRows.together(sites)
    plain = pooled(theta, together.training(), together.held_out())["concordance"]
    assert abs(plain - summary["metric"]["federated"]) <= 0.002


def test_receipts_and_log_are_left_behind(finished):
    summary, out = finished
    receipts = sorted((out / "receipts").iterdir())
    # Moments, every training round, the score.
    assert len(receipts) == summary["receipts"] == ROUNDS + 2
    leaves = cbor.decode((out / "log.cbor").read_bytes(), cap=1 << 20)
    assert len(leaves) == summary["log"]["size"] and summary["log"]["verified"] is True


def test_killed_sites_do_not_change_what_the_sum_is(hospitals, tmp_path):
    done = crimson(
        "train", "--data", str(hospitals), "--site-column", "site", "--time-column", "time", "--event-column", "event",
        "--rounds", "2", "--drop", "0.3", "--engine", "inline", "--out", str(tmp_path), "--json",
    )  # fmt: skip
    summary = json.loads(done.stdout)["data"]
    assert summary["sum_matches_plain"] is True
    assert {entry["phase"] for entry in summary["dropped"]} == {"share", "submit"}
    assert len(summary["dropped"]) == 2 * 2


def test_too_many_killed_sites_end_the_run_cleanly(hospitals, tmp_path):
    done = crimson(
        "train", "--data", str(hospitals), "--site-column", "site", "--time-column", "time", "--event-column", "event",
        "--rounds", "1", "--drop", "0.6", "--engine", "inline", "--out", str(tmp_path), "--json",
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] in ("cohort-too-small", "too-few-confirmations")
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize("attack", ["label-flip", pytest.param("sign-flip", marks=pytest.mark.long)])
def test_attackers_of_their_own_processes_do_what_they_do_in_one(hospitals, tmp_path, attack):
    """Same patients, same attackers: nothing but the encoding's rounding, and training's, differs."""
    summaries = {}
    for engine in ("inline", "processes"):
        done = crimson(
            "train", "--data", str(hospitals), "--site-column", "site", "--time-column", "time",
            "--event-column", "event", "--rounds", "1", "--attack", f"{attack}:0.3", "--engine", engine,
            "--out", str(tmp_path / engine), "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        summaries[engine] = json.loads(done.stdout)["data"]
    models = [load_file(tmp_path / engine / "model.safetensors")["coefficients"] for engine in summaries]
    quantum = summaries["inline"]["policy"]["clip"] / 2 ** summaries["inline"]["policy"]["value_bits"]
    assert np.abs(models[0] - models[1]).max() < 10 * quantum
    assert all(summary["sum_matches_plain"] is True for summary in summaries.values())
    assert summaries["processes"]["refused"] == []
