"""Open files: a gateway keeps enough for itself, and does not start with too few."""

import resource

import pytest

from crimson_gateway import server


@pytest.mark.parametrize(
    ("limits", "connections"),
    [((300, 300), None), ((400, 400), 144), ((1024, 1 << 16), 1024), ((1 << 20, 1 << 20), 1024)],
)
def test_connections_stay_below_the_limit_of_open_files(monkeypatch, limits, connections):
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    if connections is None:
        with pytest.raises(server.TooFewFiles, match="300"):
            server.most_connections()
    else:
        assert server.most_connections() == connections
