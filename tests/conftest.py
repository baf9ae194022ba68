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


LONG = ("end_to_end", "enclave", "gateway", "node", "test_any_dropouts.py", "test_benchmarks.py")
"""Folders and files that take minutes, longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They begin first: a file that begins last keeps a single worker busy while the others wait."""

    def rank(item: pytest.Item) -> int:
        names = item.path.parent.name, item.path.name
        return next((place for place, name in enumerate(LONG) if name in names), len(LONG))

    items.sort(key=rank)
