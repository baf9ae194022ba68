"""A node that sends a vector which no honest node makes, to lose rounds.

A robust rule spares its bucket. A bare sum is lost, and its bucket is a failed group test of everybody in it.
"""

import numpy as np
import pytest
from tests.playground import Play, default_numbers, make_parties
from tests.privacy.test_private_rounds import PER_BUCKET, change, is_noise, sigma_of, sums
from tests.privacy.test_private_rounds import federation_of as private_of
from tests.rounds.test_robust_rounds import CLIP, NODES, PARAMETERS, finish, flags, honest, released

from crimson_node.encoding import encode_update
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.refusal import Refusal

BAD = 5
WEIGHT = PARAMETERS
SPOILT = {
    "lane": (0, 1 << 30, "out-of-range"),
    "weight above the cap": (WEIGHT, 1 << 22, "out-of-range"),
    "negative weight": (WEIGHT, -(1 << 22), "out-of-range"),
    "count": (None, 2, "count-words-differ"),
}


def spoil(federation: Play, lane: int | None, value: int) -> None:
    """The bad node puts `value` into a body lane, or into its count where there is no lane."""

    def encode(update, layout, fill):
        vector = encode_update(update, layout, fill)
        words = next(iter(layout.counts(vector))) if lane is None else layout.read(vector, lane, lane + 1)
        words[:1] = np.uint32(value % 2**32)
        return vector

    federation.agents[BAD]._encode = encode


def federation_of(play, rule: str, **changes: object) -> Play:
    numbers = default_numbers(
        NODES,
        parameters=PARAMETERS,
        counters=0,
        clip_micro=round(CLIP * 1e6),
        bucket_size=changes.pop("size", 1),
        min_cohort=changes.pop("min_cohort", 4),
    )
    tolerance = 0 if rule in ("none", "norm-bound") else 1
    settings = {"robust_rule": rule, "robust_tolerance": tolerance, "radius_micro": 500_000, **changes}
    return play(NODES, parties=make_parties(NODES, numbers, **settings), numbers=numbers)


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize("clip", [0, 1])
@pytest.mark.parametrize("size", [1, 2])
def test_a_bucket_that_honest_nodes_cannot_make_is_left_out_exactly(play, kind, clip, size):
    """Also under `enclave_clip`: nothing in such a bucket can be believed, so it is not brought back to the bound."""
    lane, value, code = SPOILT[kind]
    federation = federation_of(play, "norm-bound", size=size, enclave_clip=clip)
    updates = honest(federation)
    spoil(federation, lane, value)
    assert finish(federation, updates) == "Released"
    out = {int(str(name).removeprefix("site-")) for name, _ in flags(federation)}
    assert BAD in out and len(out) == size
    assert {found for _, found in flags(federation)} == {code}
    mean = np.mean([updates[node].parameters for node in range(NODES) if node not in out], axis=0)
    assert np.abs(released(federation) - mean).max() <= 2 * CLIP / 2**16 + 1e-6


@pytest.mark.parametrize(("kind", "held"), [("lane", "count-words"), ("count", "range")])
def test_the_receipt_says_which_check_did_not_hold_in_every_bucket(play, kind, held):
    lane, value, _ = SPOILT[kind]
    federation = federation_of(play, "norm-bound")
    spoil(federation, lane, value)
    assert finish(federation, honest(federation)) == "Released"
    receipt = verify_receipt(federation.session.receipts[-1], federation.session.instance.signing.public)
    outcomes = {check.name: check.ok for check in receipt.checks}
    assert (outcomes.pop("count-words"), outcomes.pop("range")) == (held == "count-words", held == "range")
    assert len(outcomes) == 3 and all(outcomes.values())


def test_where_too_few_are_left_the_round_is_lost_and_the_log_names_the_bucket(play):
    """Of two buckets one is spoilt: what is left is fewer nodes than may be summed."""
    federation = federation_of(play, "norm-bound", size=4, min_cohort=5)
    spoil(federation, 0, 1 << 30)
    assert finish(federation, honest(federation)) == "Aborted"
    assert federation.session.state.code is Refusal.TOO_MANY_FLAGGED
    named = {name for name, _ in flags(federation)}
    assert "site-5" in named and len(named) == 4


@pytest.mark.parametrize("rule", ["trimmed-mean", "median", "geometric-median", "krum", "centered-clipping"])
@pytest.mark.parametrize("kind", SPOILT)
def test_what_a_rule_need_not_bear_it_does_not_count_twice(play, rule, kind):
    lane, value, _ = SPOILT[kind]
    federation = federation_of(play, rule)
    updates = honest(federation)
    spoil(federation, lane, value)
    assert finish(federation, updates) == "Released"
    mean = np.mean([updates[node].parameters for node in range(NODES) if node != BAD], axis=0)
    assert np.linalg.norm(released(federation) - mean) < 0.35 * CLIP


@pytest.mark.parametrize("kind", SPOILT)
def test_a_bare_sum_is_lost_and_its_bucket_is_a_failed_group_test(play, kind):
    lane, value, code = SPOILT[kind]
    federation = federation_of(play, "none", size=4)
    updates = honest(federation)
    spoil(federation, lane, value)
    assert finish(federation, updates) == "Aborted"
    state = federation.session.state
    assert (state.code.value, state.culprits, state.again) == (code, (), False)
    named = {name for name, found in flags(federation) if found == code}
    assert "site-5" in named and len(named) == 4


@pytest.mark.parametrize("rule", ["trimmed-mean", "median"])
@pytest.mark.parametrize("kind", ["lane", "count"])
def test_under_noise_a_single_update_out_of_range_counts_as_zero_and_nobody_is_flagged(play, rule, kind):
    """It tells of its own node alone, and what was charged buys a release."""
    lane, value, _ = SPOILT[kind]
    federation = private_of(play, NODES, size=1, robust_rule=rule, robust_tolerance=1)
    spoil(federation, lane, value)
    assert federation.round()
    assert flags(federation) == []
    rows, _ = sums(federation)
    rows[BAD] = 0
    cut = (NODES - 1) // 2 if rule == "median" else 1
    kept = np.sort(rows, axis=0)[cut : NODES - cut]
    is_noise(change(federation) * len(kept) - kept.sum(axis=0), sigma_of(federation))


@pytest.mark.parametrize("rule", ["krum", "geometric-median", "median"])
@pytest.mark.parametrize("kind", ["lane", "count"])
def test_a_spoilt_bucket_among_noisy_ones_is_left_out_and_is_no_bare_zero(play, rule, kind):
    """A zero without noise would be the most central value: Krum would take it, and the model would stay as it is."""
    lane, value, _ = SPOILT[kind]
    federation = private_of(play, NODES, size=1, privacy=PER_BUCKET, robust_rule=rule, robust_tolerance=1)
    spoil(federation, lane, value)
    assert federation.round()
    # The mean of the seven others has 0.38 of one value's deviation, a median more; drawn to a zero, each has less.
    assert change(federation).std() > 0.35 * sigma_of(federation)
    assert flags(federation) == []


def test_under_noise_a_projected_bucket_of_two_that_is_out_of_range_loses_the_round(play):
    """Zeros instead of its sum would move by the honest node's update and the bad one's, and noise covers one. Which
    bucket it was is not told either."""
    federation = private_of(
        play, NODES, size=2, robust_rule="trimmed-mean", robust_tolerance=1, enclave_clip=1
    )
    spoil(federation, 0, 1 << 30)
    assert not federation.round()
    assert federation.session.state.code is Refusal.OUT_OF_RANGE
    assert flags(federation) == []
