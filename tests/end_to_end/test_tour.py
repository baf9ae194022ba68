"""A new federation by commands alone: founded, signed, published, joined by token, approved, and a model released."""

import time

import pytest
from tests.end_to_end.tour import LATE, MODEL, MOMENTS, SITES, Tour
from tests.node.federation import write_rows


@pytest.fixture
def tour(tmp_path):
    one = Tour(tmp_path)
    yield one
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


def released(tour: Tour, model: str) -> None:
    """Start a round of a model and follow it to its release."""
    (ended,) = tour.operate("rounds", "start", model, "--wait")["rounds"]
    assert ended["state"] == "released"


def holds(tour: Tour, site: str, model: str, round_: int) -> bool:
    """Whether a site opened a round's release."""
    end = time.monotonic() + 20
    receipt = getattr(tour, site) / "receipts" / f"{model}-{round_}.cbor"
    while not receipt.exists() and time.monotonic() < end:
        time.sleep(0.2)
    return receipt.exists() and (getattr(tour, site) / "models" / f"{model}.artifact").exists()


def test_from_policy_init_to_a_released_model_with_three_organisations(tour, capsys):
    took = founded(tour)
    for site in SITES:
        tour.start(site, "node", "run", "--home", getattr(tour, site))
    released(tour, "survival.moments")
    released(tour, "survival")
    assert all(holds(tour, site, "survival", 1) for site in SITES)
    with capsys.disabled():
        hands = ", ".join(f"{seconds:.1f}" for seconds in took)
        print(f"\nhands-on time of `crimson node join` at three hospitals: {hands} s")

    # A fourth organisation joins a federation that runs; the enclave and the nodes follow the new policy by themselves.
    joined(tour, LATE, 9)
    tour.crimson("policy", "admit", tour.governors, tour.root / f"{LATE}.request")
    tour.publish(("alice", "carol"))
    tour.deliver(tour.gateway)
    tour.until_active(*SITES, LATE)
    tour.start(LATE, "node", "run", "--home", tour.east)
    released(tour, "survival")
    assert holds(tour, LATE, "survival", 2)

    # One is revoked: its key is refused, its agent ends with code 5, and rounds go on without it.
    tour.crimson("policy", "status", tour.governors, "west", "revoked")
    tour.publish()
    tour.deliver(tour.gateway)
    tour.until_active("north", "south", LATE)
    released(tour, "survival")
    assert holds(tour, LATE, "survival", 3)
    assert tour.ended("west") in (2, 5), tour.log("west")
    assert not (tour.west / "receipts" / "survival-3.cbor").exists()
    for site in ("north", "south", LATE):
        assert tour.stop(site) == 0


def test_a_wrong_word_and_a_used_token_let_nobody_in(tour):
    tour.found()
    tour.publish()
    tour.deliver(tour.gateway, tour.enclave)
    tour.serve()
    joined(tour, "north", 1)
    other, token = tour.root / "thief", tour.root / "north.token"
    refused = tour.crimson("node", "join", "--token-file", token, "--home", other, "--yes", code=5)
    assert "invitation" in refused["code"]
    assert not list(other.rglob("*.pem"))
