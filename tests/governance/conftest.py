"""Fixtures of the governance tests."""

from pathlib import Path

import pytest
from tests.governance.sources import SourceFolder


@pytest.fixture
def source(tmp_path: Path) -> SourceFolder:
    """A sound source of six sites and one model, written."""
    return SourceFolder(tmp_path / "policies").write()
