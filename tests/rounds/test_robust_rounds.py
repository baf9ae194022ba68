"""Robust rules over opened buckets: what is beyond the bound stays out and is flagged, and the rest is combined."""

from dataclasses import replace

import numpy as np
import pytest
from tests.playground import MODEL, NOW, Play, default_numbers, make_parties

from crimson_enclave.state import terms_of
from crimson_node.encoding import encode_update
from crimson_node.member import Update
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.conduct import suspicions
from crimson_protocol.errors import CallerFault
from crimson_protocol.events import MAX_EVENT, Event
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.transcript import model_digest
from crimson_simulation.attacks.encoding import encode_unclipped

NODES, PARAMETERS, CLIP = 8, 6, 1.0
COMPARING = (
    "trimmed-mean",
    "median",
    "geometric-median",
    "krum",
    "multi-krum",
    "centered-clipping",
)


def federation_of(play, rule: str, size: int = 1, tolerance: int = 1, **changes: object) -> Play:
    knobs = {"parameters": PARAMETERS, "counters": 0, "clip_micro": round(CLIP * 1e6), "bucket_size": size}
    numbers = default_numbers(NODES, **knobs)
    settings = {"robust_rule": rule, "robust_tolerance": tolerance, "radius_micro": 500_000, **changes}
    return play(NODES, parties=make_parties(NODES, numbers, **settings), numbers=numbers)


def honest(federation: Play) -> dict[int, Update]:
    """Unlike updates of half the clip, all of one weight."""
    digest, made = model_digest(federation.session.base(MODEL)), {}
    for node in range(NODES):
        values = np.ones(PARAMETERS) + 0.3 * np.random.default_rng(node).normal(0, 1, PARAMETERS)
        values *= 0.5 * CLIP / np.linalg.norm(values)
        made[node] = Update(MODEL, digest, values.astype(np.float32), 8)
    return made


def scaled(federation: Play, node: int, factor: float) -> None:
    """One node encodes `factor` times its update, and does not clip."""
    federation.agents[node]._encode = lambda update, layout, fill: encode_unclipped(
        replace(update, parameters=np.float32(factor) * update.parameters), layout, fill
    )


def finish(federation: Play, updates: dict[int, Update]) -> str:
    federation.prepare(updates)
    said = federation.open()
    for _ in range(7):
        federation.deliver(said)
        if federation.session.state.phase.value in ("Released", "Aborted"):
            break
        said = federation.close()
    return federation.session.state.phase.value


def released(federation: Play) -> np.ndarray:
    return Artifact.from_bytes(federation.session.artifacts[MODEL], MAX_ARTIFACT).vector().astype(np.float64)


def flags(federation: Play) -> list[tuple[str | None, str | None]]:
    events = [Event.from_bytes(leaf, MAX_EVENT) for leaf in federation.session.log.leaves]
    return [(event.culprit, event.code) for event in events if event.kind == "flag"]


@pytest.mark.parametrize(
    ("rule", "mixing"), [("norm-bound", 0), *((rule, mixing) for rule in COMPARING for mixing in (0, 1))]
)
@pytest.mark.parametrize("size", [1, 2])
def test_every_rule_withstands_a_reversed_update(play, rule, mixing, size):
    """-5 times an update of half the clip is beyond the bound, alone and in a pair."""
    tolerance = 0 if rule == "norm-bound" else 1
    if rule in ("krum", "multi-krum") and size == 2:
        tolerance = 0
    federation = federation_of(play, rule, size, tolerance, mixing=mixing)
    updates = honest(federation)
    scaled(federation, 3, -5.0)
    assert finish(federation, updates) == "Released"
    named = {name for name, _ in flags(federation)}
    assert "site-3" in named and len(named) == size
    assert {code for _, code in flags(federation)} == {"norm-bound"}
    mean = np.mean([updates[node].parameters for node in updates], axis=0)
    assert np.linalg.norm(released(federation) - mean) < 0.35 * CLIP
    receipt = verify_receipt(federation.session.receipts[-1], federation.session.instance.signing.public)
    assert (receipt.robust_rule, receipt.robust_tolerance) == (rule, tolerance)


def test_what_is_left_out_is_out_exactly(play):
    """With a norm bound alone the result is the plain mean of the accepted, to the rounding of the encoding."""
    federation = federation_of(play, "norm-bound", tolerance=0)
    updates = honest(federation)
    scaled(federation, 5, 10.0)
    assert finish(federation, updates) == "Released"
    mean = np.mean([updates[node].parameters for node in range(NODES) if node != 5], axis=0)
    # Half the weight cap: a quantum is two of the clip's 2^16 parts, and every node rounds once.
    assert np.abs(released(federation) - mean).max() <= 2 * CLIP / 2**16 + 1e-6


def test_projection_keeps_a_bucket_and_bounds_it(play):
    federation = federation_of(play, "trimmed-mean", tolerance=0, enclave_clip=1)
    updates = honest(federation)
    scaled(federation, 5, 3.0)
    assert finish(federation, updates) == "Released"
    kept = {node: updates[node].parameters.astype(np.float64) for node in range(NODES)}
    kept[5] *= CLIP / np.linalg.norm(kept[5])
    assert np.abs(released(federation) - np.mean(list(kept.values()), axis=0)).max() < 1e-3
    assert flags(federation) == [("site-5", "norm-bound")]


def test_a_weight_of_next_to_nothing_does_not_make_an_update_large(play):
    """A lane of weight one quantum under parameters of the clip: the mean would be thousands of clips long."""
    federation = federation_of(play, "geometric-median")
    updates = honest(federation)

    def lying(update, layout, fill):
        vector = encode_update(update, layout, fill)
        layout.read(vector, PARAMETERS, PARAMETERS + 1)[:] = np.uint32(1)
        return vector

    federation.agents[2]._encode = lying
    assert finish(federation, updates) == "Released"
    assert ("site-2", "norm-bound") in flags(federation)
    assert np.linalg.norm(released(federation)) < CLIP


def test_more_bad_buckets_than_the_rule_bears_lose_the_round(play):
    federation = federation_of(play, "krum", tolerance=2)
    for node in (0, 1, 2, 3, 4, 5):
        scaled(federation, node, 10.0)
    assert finish(federation, honest(federation)) == "Aborted"
    assert federation.session.state.code is Refusal.TOO_MANY_FLAGGED
    assert federation.session.published == {}


def test_nothing_within_the_bound_loses_the_round(play):
    federation = federation_of(play, "norm-bound", tolerance=0)
    for node in range(NODES):
        scaled(federation, node, 10.0)
    assert finish(federation, honest(federation)) == "Aborted"
    assert federation.session.state.code is Refusal.TOO_MANY_FLAGGED


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_not_finite_never_leaves_its_node(play, value):
    federation = federation_of(play, "median")
    updates = honest(federation)
    poisoned = updates[1].parameters.copy()
    poisoned[2] = value
    updates[1] = replace(updates[1], parameters=poisoned)
    federation.prepare(updates)
    said = federation.open()
    for _ in range(2):
        federation.deliver(said)
        said = federation.close()
    with pytest.raises(CallerFault) as caught:
        federation.deliver(said, [1])
    assert caught.value.code is Refusal.NOT_FINITE


def test_centered_clipping_goes_on_from_the_last_change(play):
    federation = federation_of(play, "centered-clipping", tolerance=0)
    assert finish(federation, honest(federation)) == "Released"
    change = federation.session.accounts.memory(MODEL).vector("change", PARAMETERS)
    assert np.allclose(change, released(federation), atol=1e-6) and change.any()


def test_suspicion_grows_with_flags_and_names_whoever_was_in_both_groups(play):
    federation = federation_of(play, "geometric-median", size=2)
    scaled(federation, 3, -5.0)
    assert finish(federation, honest(federation)) == "Released"
    names = [entry.node for entry in federation.policy.roster]
    odds = suspicions(names, federation.session.log.leaves)
    group = {name for name, _ in flags(federation)}
    assert {name for name, value in odds.items() if value > 0.2} == group and len(group) == 2
    # Another roster epoch puts the nodes together anew: who fails again is named.
    regrouped = replace(federation.parties.policy, serial=2, regrouping=1, expires=NOW + 10**6)
    assert regrouped.digest() != federation.policy.digest()


def test_a_group_that_fails_in_several_ways_in_one_epoch_is_one_test(play):
    """One spoiler among two: its mate is no more suspect for the number of ways that it tried."""
    federation = federation_of(play, "geometric-median", size=2)
    names = [entry.node for entry in federation.policy.roster]
    log, terms = federation.session.log, terms_of(opened_state(federation))
    log.flag(terms, (2, 3), ["site-2", "site-3"], "out-of-range", NOW)
    once = suspicions(names, log.leaves)
    log.flag(terms, (2, 3), ["site-2", "site-3"], "count-words-differ", NOW)
    log.flag(terms, (2, 3), ["site-2", "site-3"], "norm-bound", NOW)
    assert suspicions(names, log.leaves) == once
    assert once["site-2"] == once["site-3"] > 0.4


def opened_state(federation: Play):
    federation.prepare(honest(federation))
    federation.open()
    return federation.session.state


def test_one_site_that_vanishes_does_not_hold_the_model_to_a_cohort_that_no_rule_can_use(play):
    """Three buckets of three, one of which closes: two values bear no bad one. Had the verdict been shown, nodes would
    accept this cohort alone, and every later round would be lost like the first."""
    numbers = default_numbers(9, parameters=PARAMETERS, counters=0, bucket_size=3)
    parties = make_parties(9, numbers, robust_rule="trimmed-mean", robust_tolerance=1)
    federation = play(9, parties=parties, numbers=numbers)
    federation.deliver(federation.until("shared"), [node for node in range(9) if node != 4])
    federation.close()
    state = federation.session.state
    assert (state.code, state.again) == (
        Refusal.TOO_MANY_FLAGGED,
        True,
    ) and MODEL not in federation.session.bound
    assert federation.round()
