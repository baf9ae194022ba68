"""New keys and a farewell by commands alone: a node goes over to the keys that governors listed, and one leaves."""

import time

import pytest
from tests.end_to_end.test_tour import founded, holds, released
from tests.end_to_end.tour import SITES, Tour


@pytest.fixture
def tour(tmp_path):
    one = Tour(tmp_path)
    yield one
    one.close()


def identity(tour: Tour, site: str) -> str:
    return tour.crimson("node", "key", "show", "--home", getattr(tour, site))["keys"]["key_id"]


def until_settled(tour: Tour, site: str) -> None:
    """Wait until the policy that the gateway follows has answered what a site asked for last."""
    end, asked = time.monotonic() + 30, []
    while time.monotonic() < end:
        asked = [one for one in tour.operate("nodes")["enrolments"] if one["node"] == site]
        if asked[0]["state"] == "listed":
            return
        time.sleep(0.3)
    raise AssertionError((asked, tour.log("gateway_")))


def test_a_member_changes_its_keys_while_it_runs_and_another_leaves(tour):
    founded(tour)
    for site in SITES:
        tour.start(site, "node", "run", "--home", getattr(tour, site))
    released(tour, "survival.moments")

    # New keys: announced, compared, listed, published. Agent, gateway and enclave go on.
    before = identity(tour, "north")
    told = tour.crimson("node", "key", "rotate", "--home", tour.north)
    request = tour.root / "rotation.request"
    tour.operate("approve", "north", "--fingerprint", " ".join(told["fingerprint"]), "--out", request)
    assert identity(tour, "north") == before
    tour.crimson("policy", "admit", tour.governors, request)
    tour.publish()
    tour.deliver(tour.gateway)
    until_settled(tour, "north")
    released(tour, "survival")
    assert all(holds(tour, site, "survival", 1) for site in SITES)
    assert identity(tour, "north") == told["key_id"] != before
    assert not (tour.north / "keys" / "next").exists()
    assert "keys-changed" in tour.log("north")

    # Leaving: not while the agent runs; then the gateway refuses the key, and the journal stays.
    assert (
        tour.crimson("node", "leave", "--home", tour.west, "--yes", "west", code=4)["code"] == "home-in-use"
    )
    assert tour.stop("west") == 0
    tour.crimson("node", "leave", "--home", tour.west, "--yes", "west")
    assert not (tour.west / "keys").exists()
    assert (tour.west / "receipts" / "survival-1.cbor").exists()
    assert tour.crimson("node", "status", "--home", tour.west)["enrolment"]["standing"] == "left"
    assert tour.crimson("node", "run", "--home", tour.west, code=4)["code"] == "home-left"
    for site in ("north", "south"):
        assert tour.stop(site) == 0
