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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes begin first: one that begins last keeps a single worker busy while the other waits."""
    long = ("end_to_end", "gateway", "node", "enclave")
    items.sort(key=lambda item: item.path.parent.name not in long)
