"""Fixtures that every test may use."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.playground import Play


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Play]:
    """Makes federations in memory; each has a home of its own."""
    made = 0

    def make(nodes: int = 6, **options: object) -> Play:
        nonlocal made
        made += 1
        return Play(tmp_path / str(made), nodes, **options)

    return make
