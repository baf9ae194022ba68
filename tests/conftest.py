"""Fixtures that every test may use."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.playground import Play


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., Play]]:
    """Makes federations in memory; each has a home of its own."""
    made: list[Play] = []

    def make(nodes: int = 6, **options: object) -> Play:
        made.append(Play(tmp_path / str(len(made) + 1), nodes, **options))
        return made[-1]

    yield make
    for federation in made:
        federation.close_journals()
