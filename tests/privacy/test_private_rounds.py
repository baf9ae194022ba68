"""Private rounds end to end: what is released is a known function of the opened sums, and noise of the promised size.

The witness of a simulation sees the exact sums; each test computes from them, in fractions or float64 and not with the
enclave's code, what the rule comes to without noise. What is left is the noise.
"""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from tests.playground import MODEL, Play, default_numbers, default_rules, make_parties

from crimson_enclave.aggregation import aggregate as aggregation
from crimson_enclave.aggregation.private import draw
from crimson_enclave.aggregation.releasable import refuse_unreleasable
from crimson_enclave.privacy.accountant import multiplier_for
from crimson_node.encoding import encode_update
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.errors import PeerFault
from crimson_protocol.events import MAX_EVENT, Event
from crimson_protocol.policy.document import ModelRules
from crimson_protocol.policy.privacy import noise_for, sigma_micro
from crimson_protocol.policy.privacy_rules import PrivacyRules
from crimson_protocol.refusal import Refusal
from crimson_simulation.attacks.encoding import encode_unclipped

NODES, LANES, RELEASES = 7, 1500, 6


NODE = PrivacyRules("node", 4000, 5, 1_000_000, 0, 0, RELEASES, "release", "node")
PER_BUCKET = replace(NODE, noise="buckets")
RECORD = PrivacyRules("record", 8000, 5, 100_000, 1_000_000, 40, RELEASES, "release", "record")


def federation_of(
    play, nodes: int = NODES, size: int | None = None, privacy: PrivacyRules = NODE, **changes: object
) -> Play:
    """Six releases within the budget; few bits, so that the artifact's float32 holds every integer of the sum."""
    numbers = default_numbers(
        nodes, parameters=LANES, counters=0, weight_cap=1, value_bits=12, bucket_size=size
    )
    rules = default_rules(numbers, privacy=privacy, **changes)
    multiplier = multiplier_for(privacy.epsilon_thousandths, 1e-5, privacy.sampling_micro, RELEASES)
    numbers = replace(numbers, noise_micro=noise_for(rules, multiplier))
    return play(nodes, parties=make_parties(nodes, numbers, privacy=privacy, **changes), numbers=numbers)


def unit_of(rules: ModelRules) -> float:
    """What one quantum is worth, in the update's unit."""
    return rules.numbers.clip_micro / 1e6 / 2**rules.numbers.value_bits


def change(federation: Play, before: np.ndarray | None = None) -> np.ndarray:
    """How the last release moved the model, in quanta."""
    now = released(federation)
    return (now if before is None else now - before) / unit_of(federation.policy.rules(MODEL))


def released(federation: Play) -> np.ndarray:
    return Artifact.from_bytes(federation.session.artifacts[MODEL], MAX_ARTIFACT).vector().astype(np.float64)


def sums(federation: Play) -> tuple[np.ndarray, list[int]]:
    """The exact sums of the open buckets (B, d), and over how many nodes each is."""
    totals, _ = federation.opened[-1]
    exact = [
        np.sum(
            [
                totals.layout.read(federation.encoded[node], 0, LANES).view(np.int32).astype(np.int64)
                for node in bucket.nodes
            ],
            axis=0,
        )
        for bucket in totals.buckets
    ]
    return np.array(exact), [len(bucket.nodes) for bucket in totals.buckets]


def sigma_of(federation: Play) -> float:
    """Deviation of the noise on a sum, in quanta."""
    return sigma_micro(federation.policy.rules(MODEL)) / 1e6


def is_noise(values: np.ndarray, sigma: float) -> None:
    """Centred, and of this deviation within four standard errors of the two."""
    assert abs(values.mean()) < 4 * sigma / np.sqrt(values.size)
    assert abs(values.std() / sigma - 1) < 4 / np.sqrt(2 * values.size)


def flags(federation: Play) -> list[Event]:
    events = [Event.from_bytes(leaf, MAX_EVENT) for leaf in federation.session.log.leaves]
    return [event for event in events if event.kind == "flag"]


def test_over_many_releases_noise_has_its_size_and_is_drawn_anew(play):
    federation, noise = federation_of(play), []
    for _ in range(RELEASES):
        before = released(federation)
        assert federation.round()
        exact, _ = sums(federation)
        noise.append(change(federation, before) * NODES - exact.sum(axis=0))
    sigma = sigma_of(federation)
    is_noise(np.concatenate(noise), sigma)
    # Neither round after round nor lane after lane does one draw tell the next.
    for first, second in pairwise(noise):
        assert abs(np.mean(first * second)) < 4 * sigma**2 / np.sqrt(LANES)
    for row in noise:
        assert abs(np.mean(row[1:] * row[:-1])) < 4 * sigma**2 / np.sqrt(LANES)


def kept_mean(exact: np.ndarray, sizes: list[int], trimmed: int) -> np.ndarray:
    """Coordinate by coordinate: bucket means in fractions, sorted, the outer ones left out, the rest averaged."""
    found = []
    for lane in exact.T.tolist():
        means = sorted(Fraction(value, size) for value, size in zip(lane, sizes, strict=True))
        middle = means[trimmed : len(means) - trimmed]
        found.append(float(sum(middle) / len(middle)))
    return np.array(found)


@pytest.mark.parametrize(
    ("rule", "tolerance", "nodes", "trimmed"),
    [("trimmed-mean", 1, 7, 1), ("median", 0, 7, 1), ("median", 0, 9, 1), ("trimmed-mean", 1, 9, 1)],
)
def test_kept_means_of_unlike_buckets_get_the_noise_of_the_smallest(play, rule, tolerance, nodes, trimmed):
    """Seven nodes in pairs are buckets of 2, 2 and 3; nine are 2, 2, 2 and 3. One node moves the mean of a pair by
    half its norm, so the kept mean over k buckets by that over k."""
    federation = federation_of(play, nodes, 2, robust_rule=rule, robust_tolerance=tolerance, enclave_clip=1)
    assert federation.round()
    exact, sizes = sums(federation)
    assert sorted(set(sizes)) == [2, 3] and len(sizes) == nodes // 2
    kept = len(sizes) - 2 * trimmed
    noise = change(federation) - kept_mean(exact, sizes, trimmed)
    is_noise(noise, sigma_of(federation) / (2 * kept))
    # A sum over unlike buckets is of sixths: only there is it an integer that noise was added to.
    steps = noise * 6 * kept
    assert np.abs(steps - np.rint(steps)).max() < 0.1


def vanishing(federation: Play, node: int | None) -> str:
    """An attempt in which one node deals and then says nothing more; the phase that it ends in."""
    federation.prepare()
    stages, said = federation.stages, federation.open()
    for stage in stages:
        gone = {node} if stage not in ("offer", "roster") else set()
        federation.deliver(said, sorted(set(range(federation.nodes)) - gone))
        if federation.session.state.phase.value in ("Released", "Aborted"):
            break
        said = federation.close()
    return federation.session.state.phase.value


def test_a_closed_bucket_that_leaves_too_few_costs_neither_budget_nor_the_model(play):
    """Two of three values: nothing is left between the trimmed ones. No verdict is shown, so the cohort is not held to
    it, nothing is charged, and the attempt may be made again with everybody."""
    federation = federation_of(play, 9, 3, robust_rule="trimmed-mean", robust_tolerance=1, enclave_clip=1)
    assert vanishing(federation, 4) == "Aborted"
    state = federation.session.state
    assert (state.code, state.again) == (Refusal.TOO_MANY_FLAGGED, True)
    assert federation.session.accounts.ledger.charged(MODEL) == 0 and MODEL not in federation.session.bound
    assert vanishing(federation, None) == "Released"
    assert federation.session.accounts.ledger.charged(MODEL) == 1


def test_sizes_too_unlike_to_be_compared_exactly_are_refused(play):
    """17 · 19 · 23 · 29 · 31 is beyond 2^20."""
    rules = federation_of(play, size=2, robust_rule="median", enclave_clip=1).policy.rules(MODEL)
    with pytest.raises(PeerFault) as caught:
        draw(rules, [17, 19, 23, 29, 31], bytes)
    assert caught.value.code is Refusal.OUT_OF_RANGE


def watched(monkeypatch) -> list[np.ndarray]:
    """The values that a robust rule is given."""
    seen, combine = [], aggregation.combine

    def watch(values: np.ndarray, *rest: object) -> np.ndarray:
        seen.append(values.copy())
        return combine(values, *rest)

    monkeypatch.setattr(aggregation, "combine", watch)
    return seen


@pytest.mark.parametrize("rule", ["geometric-median", "krum", "multi-krum", "centered-clipping"])
def test_with_noise_on_each_bucket_a_rule_sees_noisy_values_alone(play, monkeypatch, rule):
    """Each bucket's sum has noise of its own, so whatever the rule does with them is post-processing."""
    federation = federation_of(
        play, size=2, privacy=PER_BUCKET, robust_rule=rule, radius_micro=500_000, enclave_clip=1
    )
    seen = watched(monkeypatch)
    assert federation.round()
    exact, sizes = sums(federation)
    unit, rows = unit_of(federation.policy.rules(MODEL)), []
    for values, total, size in zip(seen[0], exact, sizes, strict=True):
        rows.append(values / unit * size - total)
        is_noise(rows[-1], sigma_of(federation))
    for place, row in enumerate(rows[1:]):
        assert abs(np.mean(row * rows[place])) < 4 * sigma_of(federation) ** 2 / np.sqrt(LANES)


@pytest.mark.parametrize("size", [1, 2])
def test_a_mean_of_noisy_buckets_carries_all_their_noise(play, size):
    federation = federation_of(play, size=size, privacy=PER_BUCKET, enclave_clip=1)
    assert federation.round()
    exact, sizes = sums(federation)
    noise = change(federation) * NODES - exact.sum(axis=0)
    is_noise(noise, sigma_of(federation) * np.sqrt(len(sizes)))


def lying(play_: Play, node: int, encode: Callable) -> None:
    play_.agents[node]._encode = encode


def test_a_weight_that_a_node_claims_changes_nothing(play):
    """Nodes count alike, and the divisor is the public number of the accepted: a false weight lane moves no result."""
    federation = federation_of(play)

    def weightless(update, layout, fill):
        vector = encode_update(update, layout, fill)
        layout.read(vector, LANES, LANES + 1)[:] = np.uint32(0)
        return vector

    for node in range(NODES - 1):
        lying(federation, node, weightless)
    assert federation.round()
    exact, _ = sums(federation)
    is_noise(change(federation) * NODES - exact.sum(axis=0), sigma_of(federation))


def unclipped(update, layout, fill):
    return encode_unclipped(replace(update, parameters=np.float32(10) * update.parameters), layout, fill)


def test_a_private_update_beyond_the_bound_counts_as_zero_and_nothing_tells(play):
    """The divisor stays, and no flag says who it was: which updates were out is not covered by the noise."""
    federation = federation_of(play, size=1, robust_rule="norm-bound")
    lying(federation, 3, unclipped)
    assert federation.round()
    exact, _ = sums(federation)
    totals, _ = federation.opened[-1]
    honest = [place for place, bucket in enumerate(totals.buckets) if bucket.nodes != (3,)]
    assert len(honest) == NODES - 1
    is_noise(change(federation) * NODES - exact[honest].sum(axis=0), sigma_of(federation))
    assert flags(federation) == []


def test_a_private_bucket_beyond_the_bound_is_projected_and_nothing_tells(play):
    federation = federation_of(play, size=2, enclave_clip=1)
    lying(federation, 3, unclipped)
    assert federation.round()
    exact, sizes = sums(federation)
    bounds = np.array(sizes) * 2.0**12
    norms = np.linalg.norm(exact, axis=1)
    assert (norms > bounds).any()
    projected = exact * np.minimum(1, bounds / norms)[:, np.newaxis]
    # Cutting to integers takes half a quantum a lane of the projected bucket, towards zero.
    noise = change(federation) * NODES - projected.sum(axis=0)
    assert np.abs(noise.std() / sigma_of(federation) - 1) < 4 / np.sqrt(2 * LANES)
    assert flags(federation) == []


def test_a_record_level_sum_is_divided_by_a_public_number(play):
    """Not by how many records were drawn, which is secret, nor by how many nodes answered."""
    federation = federation_of(play, privacy=RECORD)
    assert federation.round(after_share=[5])
    exact, sizes = sums(federation)
    assert sizes == [NODES - 1]
    is_noise(change(federation) * 40 - exact.sum(axis=0), sigma_of(federation))


def test_buckets_whose_noise_could_not_be_drawn_are_refused_before_anybody_sees_a_verdict():
    """24 value bits and unlike buckets: the common multiple is small enough, the noise on it is not."""
    numbers = default_numbers(
        60, parameters=8, counters=0, weight_cap=1, value_bits=24, bucket_size=15, clip_micro=8_000_000
    )
    rules = default_rules(numbers, privacy=NODE, robust_rule="median", robust_tolerance=1, enclave_clip=1)
    rules = replace(rules, numbers=replace(numbers, noise_micro=noise_for(rules, 3_000_000)))
    refuse_unreleasable(rules, [15, 15, 15, 15])
    with pytest.raises(PeerFault, match="too large to draw") as caught:
        refuse_unreleasable(rules, [11, 13, 14, 15])
    assert caught.value.code is Refusal.OUT_OF_RANGE
