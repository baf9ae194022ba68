import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from benchmarks.learning import report


@pytest.fixture
def section(monkeypatch: pytest.MonkeyPatch):
    """Puts a section with the given rows in place, and notes what it was asked for."""
    asked = []

    def put(rows: list[dict]) -> list[tuple]:
        module = ModuleType("benchmarks.learning.buckets")
        module.rows = lambda seeds, quick: asked.append((list(seeds), quick)) or rows
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return asked

    return put


def test_a_missed_goal_is_the_exit_code_and_in_the_file(section, tmp_path: Path, capsys) -> None:
    met = {"figure": "one", "loss": 0.001234567, "goal": None, "ok": True}
    missed = {"figure": "two", "other": "text", "ok": False}
    path = tmp_path / "deep" / "learning.json"
    asked = section([met, missed])
    assert report.main(["--only", "buckets", "--seeds", "2", "--quick", "--out", str(path)]) == 1
    assert asked == [([0, 1], True)]
    assert json.loads(path.read_text()) == {"buckets": [met, missed]}
    said = capsys.readouterr().out
    assert "0.001235" in said
    assert "missed" in said
    assert "2 figures, 1 goals missed" in said
    section([met])
    assert report.main(["--only", "buckets", "--out", str(path)]) == 0


@pytest.mark.parametrize("row", [{"ok": True}, {"figure": "one"}, {"figure": "one", "ok": 1}])
def test_a_row_without_figure_or_verdict_is_refused(section, tmp_path: Path, row: dict) -> None:
    section([row])
    with pytest.raises(TypeError):
        report.main(["--only", "buckets", "--out", str(tmp_path / "report.json")])
    assert not (tmp_path / "report.json").exists()


def test_every_section_has_rows() -> None:
    folder = Path(report.__file__).parent
    for name in report.SECTIONS:
        assert "def rows(" in (folder / f"{name}.py").read_text()
