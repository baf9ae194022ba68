"""A new federation by commands alone: founded, signed, published, joined by token, approved, and a model released; then
what befalls a federation that runs: a used token, new keys, a fourth member, a revocation, a farewell.

One federation for all of it, since founding one takes half a minute of commands; the tests follow each other.
"""

import time

import pytest
from tests.end_to_end.tour import LATE, MODEL, MOMENTS, SITES, Tour
from tests.node.federation import write_rows


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    """Three organisations whose agents run, with the first model's moments released."""
    one = Tour(tmp_path_factory.mktemp("tour"))
    try:
        took = founded(one)
        for site in SITES:
            one.start(site, "node", "run", "--home", getattr(one, site))
        released(one, "survival.moments")
        hands = ", ".join(f"{seconds:.1f}" for seconds in took)
        print(f"\nhands-on time of `crimson node join` at three hospitals: {hands} s")
        yield one
    finally:
        one.close()


def joined(tour: Tour, site: str, seed: int) -> float:
    """Invite a site, let it join, compare its words, approve it; seconds that the hospital's command took."""
    token, data = tour.root / f"{site}.token", tour.root / f"{site}.csv"
    write_rows(data, seed)
    tour.operate("invite", site, "--organisation", f"{site} hospital", "--kind", "hospital", "--out", token)
    began = time.monotonic()
    told = tour.crimson(
        "node", "join", "--token-file", token, "--data", data, "--home", getattr(tour, site), "--yes"
    )
    took = time.monotonic() - began
    words = " ".join(told["fingerprint"])
    tour.operate("approve", site, "--fingerprint", words, "--out", tour.root / f"{site}.request")
    return took


def founded(tour: Tour) -> list[float]:
    """A federation of three organisations whose policy lists them and two models; seconds of each join."""
    tour.found()
    anchor = tour.publish()["anchor"]
    tour.deliver(tour.gateway, tour.enclave)
    tour.serve()
    took = [joined(tour, site, seed) for seed, site in enumerate(SITES)]
    tour.crimson("policy", "admit", tour.governors, *(tour.root / f"{site}.request" for site in SITES))
    for name, text in (("survival", MODEL), ("survival.moments", MOMENTS)):
        (tour.governors / "models" / f"{name}.yaml").write_text(text)
    assert tour.crimson("policy", "lint", tour.governors)
    assert tour.publish(("bob", "carol"))["anchor"] == anchor
    tour.deliver(tour.gateway)
    tour.until_active(*SITES)
    return took


def released(tour: Tour, model: str) -> int:
    """Start a round of a model and follow it to its release; the round's number."""
    (ended,) = tour.operate("rounds", "start", model, "--wait")["rounds"]
    assert ended["state"] == "released"
    return int(ended["number"])


def holds(tour: Tour, site: str, model: str, round_: int) -> bool:
    """Whether a site opened a round's release."""
    end = time.monotonic() + 20
    receipt = getattr(tour, site) / "receipts" / f"{model}-{round_}.cbor"
    while not receipt.exists() and time.monotonic() < end:
        time.sleep(0.2)
    return receipt.exists() and (getattr(tour, site) / "models" / f"{model}.artifact").exists()


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


def nobody_joins_twice(tour: Tour, site: str) -> None:
    """A used token lets nobody in."""
    other, token = tour.root / "thief", tour.root / f"{site}.token"
    refused = tour.crimson("node", "join", "--token-file", token, "--home", other, "--yes", code=5)
    assert "invitation" in refused["code"]
    assert not list(other.rglob("*.pem"))


def test_from_policy_init_to_a_released_model_with_three_organisations(tour):
    number = released(tour, "survival")
    assert all(holds(tour, site, "survival", number) for site in SITES)


def test_a_member_changes_its_keys_while_it_runs(tour):
    """New keys: announced, compared, listed, published. Agent, gateway and enclave go on."""
    before = identity(tour, "north")
    told = tour.crimson("node", "key", "rotate", "--home", tour.north)
    request = tour.root / "rotation.request"
    tour.operate("approve", "north", "--fingerprint", " ".join(told["fingerprint"]), "--out", request)
    assert identity(tour, "north") == before
    tour.crimson("policy", "admit", tour.governors, request)
    tour.publish()
    tour.deliver(tour.gateway)
    until_settled(tour, "north")
    number = released(tour, "survival")
    assert all(holds(tour, site, "survival", number) for site in SITES)
    assert identity(tour, "north") == told["key_id"] != before
    assert not (tour.north / "keys" / "next").exists()
    assert "keys-changed" in tour.log("north")


def test_a_fourth_member_joins_one_is_revoked_and_one_leaves(tour):
    # The enclave and the nodes follow the new policy by themselves.
    joined(tour, LATE, 9)
    nobody_joins_twice(tour, LATE)
    tour.crimson("policy", "admit", tour.governors, tour.root / f"{LATE}.request")
    tour.publish(("alice", "carol"))
    tour.deliver(tour.gateway)
    tour.until_active(*SITES, LATE)
    tour.start(LATE, "node", "run", "--home", tour.east)
    assert holds(tour, LATE, "survival", released(tour, "survival"))

    # A revoked key is refused, its agent ends, and rounds go on without it.
    tour.crimson("policy", "status", tour.governors, "west", "revoked")
    tour.publish()
    tour.deliver(tour.gateway)
    tour.until_active("north", "south", LATE)
    number = released(tour, "survival")
    assert holds(tour, LATE, "survival", number)
    assert tour.ended("west") in (2, 5), tour.log("west")
    assert not (tour.west / "receipts" / f"survival-{number}.cbor").exists()

    # Leaving: not while the agent runs; then the gateway refuses the key, and the journal stays.
    busy = tour.crimson("node", "leave", "--home", tour.south, "--yes", "south", code=4)
    assert busy["code"] == "home-in-use"
    for site in ("north", "south", LATE):
        assert tour.stop(site) == 0
    tour.crimson("node", "leave", "--home", tour.south, "--yes", "south")
    assert not (tour.south / "keys").exists()
    assert (tour.south / "receipts" / f"survival-{number}.cbor").exists()
    assert tour.crimson("node", "status", "--home", tour.south)["enrolment"]["standing"] == "left"
    assert tour.crimson("node", "run", "--home", tour.south, code=4)["code"] == "home-left"
