"""One Cox step at each site, averaged by events under masks, against the central fit of the stratified likelihood."""

import numpy as np
import pytest
from tests.playground import MODEL, Play, default_numbers, make_parties

from crimson_node.data.rows import SurvivalRows
from crimson_node.learning import cox
from crimson_node.learning.local_steps import LocalPlan, train
from crimson_node.member import Update
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.transcript import model_digest

HEIGHTS, RATE, CLIP = (30, 55, 40, 25), 0.3, 1.0
WEIGHT_CAP, VALUE_BITS = 64, 24


def sites() -> list[SurvivalRows]:
    random, found = np.random.default_rng(8), []
    for height in HEIGHTS:
        features, event = random.normal(size=(height, 3)), random.random(height) < 0.6
        time = np.ceil(-np.log(random.random(height)) / np.exp(features @ [0.8, -0.5, 0.0]) * height)
        found.append(SurvivalRows(features, time, event, np.ones(height, dtype=bool)))
    return found


def central_step(theta: np.ndarray, rows: list[SurvivalRows]) -> np.ndarray:
    """A gradient step on the stratified likelihood per event (Breslow), every risk set written out within its site."""
    slope, events = np.zeros(3), sum(int(site.event.sum()) for site in rows)
    for site in rows:
        for place in np.flatnonzero(site.event):
            at_risk = site.features[site.time >= site.time[place]]
            shares = np.exp(at_risk @ theta)
            slope += site.features[place] - shares @ at_risk / shares.sum()
    return theta + RATE * slope / events


def released(federation: Play) -> np.ndarray:
    artifact = Artifact.from_bytes(federation.session.artifacts[MODEL], MAX_ARTIFACT)
    return artifact.vector().astype(np.float64)


def one_round(federation: Play, rows: list[SurvivalRows]) -> np.ndarray:
    base = federation.session.base(MODEL)
    theta = Artifact.from_bytes(base, MAX_ARTIFACT).vector().astype(np.float64)
    updates = {}
    for node, site in enumerate(rows):
        at = cox.slopes(site)
        change = train(theta, lambda point, _, at=at: at(point), len(site), LocalPlan(1, RATE), bytes).change
        weight = int(site.event.sum())
        updates[node] = Update(MODEL, model_digest(base), change.astype(np.float32), weight, ())
    federation.prepare(updates)
    said = federation.open()
    while federation.session.state.phase.value not in ("Released", "Aborted"):
        federation.deliver(said)
        said = federation.close()
    federation.deliver(said)
    assert federation.session.state.phase.value == "Released"
    return released(federation)


def test_the_secure_rounds_are_the_central_stratified_steps(play) -> None:
    numbers = default_numbers(
        4,
        parameters=3,
        counters=0,
        corrupt=(0, 1),
        weight_cap=WEIGHT_CAP,
        value_bits=VALUE_BITS,
        clip_micro=round(CLIP * 1e6),
    )
    federation = play(4, parties=make_parties(4, numbers), numbers=numbers)
    rows, theta = sites(), np.zeros(3)
    assert max(int(site.event.sum()) for site in rows) <= WEIGHT_CAP
    events = sum(int(site.event.sum()) for site in rows)
    for _ in range(12):
        before = theta
        found, theta = one_round(federation, rows), central_step(before, rows)
        # Each of four sites rounds its lanes and its weight's share by a quantum; the model is kept in float32.
        quantum = CLIP / 2**VALUE_BITS * WEIGHT_CAP / events
        kept = np.abs(theta).max() * 2.0**-23
        assert found == pytest.approx(theta, abs=2 * 4 * quantum + 2 * kept)
        theta = found
    assert np.abs(theta).max() > 0.2
