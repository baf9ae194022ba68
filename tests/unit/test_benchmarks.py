import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.peers_adapter import run_round
from benchmarks.report import Scale, run

TINY = Scale(
    parameters=2000,
    neighbours=4,
    nodes=10,
    dropped=(0, 2),
    weighed_parameters=50_000,
    few=6,
    many=8,
    mask_repeats=1,
    unmask_repeats=1,
    relayed=1 << 18,
    uploads=2,
    relay_repeats=1,
    at_once=((4, 1 << 18),),
    round_nodes=5,
    round_repeats=1,
)
ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_the_report_holds_every_goal_with_its_five_keys(tmp_path: Path) -> None:
    said: list[object] = []
    path = tmp_path / "deep" / "report.json"
    met = run(TINY, path, said.append)
    rows = json.loads(path.read_text())
    assert rows
    for row in rows:
        assert list(row) == ["name", "value", "goal", "unit", "ok"]
        assert row["value"] > 0
        assert row["ok"] is (row["goal"] is None or row["value"] <= row["goal"])
    assert met is all(row["ok"] for row in rows)
    assert len({row["name"] for row in rows}) == len(rows)
    names = (
        "masking",
        "unmask",
        "node peak memory",
        "enclave peak memory",
        "message bodies",
        "per further byte",
    )
    for measured in (*names, "per whole signed upload", "gateway peak memory", "server CPU per round"):
        assert any(measured in row["name"] for row in rows)
    assert "load average" in str(said[0])


def test_the_adapter_needs_neither_learning_nor_simulation() -> None:
    code = (
        "import sys, benchmarks.peers_adapter\n"
        "heavy = {'torch', 'polars', 'sksurv', 'sklearn', 'pandas', 'rich', 'typer', 'crimson_simulation'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_the_adapter_gives_the_mean_of_the_survivors(dropout: float) -> None:
    def vector(node: int) -> np.ndarray:
        return np.random.default_rng(node).uniform(-2, 2, 1000).astype(np.float32)

    row = run_round(8, 1000, 4, dropout, 3, vector)
    gone = random.Random(3).sample(range(8), round(8 * dropout))
    expected = np.mean([vector(node) for node in range(8) if node not in gone], axis=0)
    assert np.abs(row["result"] - expected).max() <= row["quantum"]
    for name in ("node_keys_s", "node_mask_s", "node_mask_min_s", "server_sum_s", "server_unmask_s"):
        assert row[name] > 0
    assert row["up_bytes"] > 4 * 1000
