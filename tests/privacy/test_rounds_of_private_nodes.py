"""Rounds whose updates are private before they are masked: the enclave adds nothing, charges every local step, and may
use any filter."""

from dataclasses import replace

import numpy as np
import pytest
from tests.playground import MODEL, Play, default_numbers, default_rules, make_parties

from crimson_enclave.privacy.accountant import Event, epsilon_thousandths, multiplier_for
from crimson_enclave.robust.rules import combine
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.errors import CrimsonError
from crimson_protocol.policy.document import MICRO
from crimson_protocol.policy.privacy import multiplier_micro, with_noise
from crimson_protocol.policy.privacy_rules import PrivacyRules
from crimson_protocol.receipt import verify_receipt

NODES, LANES, RELEASES, STEPS, SAMPLING = 7, 40, 3, 5, 100_000
AT_NODES = PrivacyRules("record", 8000, 5, SAMPLING, MICRO, 20, RELEASES, "nodes", "record", steps=STEPS)


def federation_of(play, **changes: object) -> Play:
    size = changes.pop("bucket_size", None)
    numbers = default_numbers(
        NODES, parameters=LANES, counters=0, weight_cap=1, value_bits=20, bucket_size=size
    )
    changes = {"loss": "discrete-hazard", "privacy": AT_NODES, **changes}
    multiplier = multiplier_for(8000, 1e-5, SAMPLING, RELEASES * STEPS)
    privacy = with_noise(default_rules(numbers, **changes), multiplier).privacy
    return play(
        NODES, parties=make_parties(NODES, numbers, **{**changes, "privacy": privacy}), numbers=numbers
    )


def released(federation: Play) -> np.ndarray:
    return Artifact.from_bytes(federation.session.artifacts[MODEL], MAX_ARTIFACT).vector().astype(np.float64)


def updates(federation: Play) -> np.ndarray:
    """What the nodes encoded (n, d), in the update's unit."""
    rules, layout = federation.policy.rules(MODEL), federation.opened[-1][0].layout
    rows = [layout.read(federation.encoded[node], 0, LANES).view(np.int32) for node in range(NODES)]
    return np.array(rows, np.float64) * rules.numbers.clip_micro / MICRO / 2**rules.numbers.value_bits


def test_the_release_is_the_plain_mean_of_what_nodes_sent(play):
    federation = federation_of(play)
    assert federation.round()
    assert released(federation) == pytest.approx(updates(federation).mean(axis=0), abs=1e-6)


def test_a_filter_that_chooses_among_single_updates_is_as_good_as_without_privacy(play):
    federation = federation_of(
        play,
        bucket_size=1,
        robust_rule="krum",
        robust_tolerance=1,
        disclosures=("simulated", "single-updates"),
    )
    assert federation.round()
    expected = combine(updates(federation), "krum", 1, False, np.zeros(LANES), 0.0)
    assert released(federation) == pytest.approx(expected, abs=1e-6)


def test_every_local_step_is_charged_and_the_receipt_says_so(play):
    federation = federation_of(play)
    event = Event(multiplier_micro(federation.policy.rules(MODEL)), SAMPLING)
    for release in range(1, RELEASES + 1):
        assert federation.round()
        receipt = verify_receipt(federation.session.receipts[-1], federation.session.instance.signing.public)
        spent = [epsilon_thousandths({event: STEPS * count}, 5) for count in (release - 1, release)]
        told = receipt.privacy
        assert (told.unit, told.adjacency, told.releases) == ("record", "add-remove", release)
        assert [told.before_thousandths, told.after_thousandths] == spent
    (charge, *_) = federation.session.accounts.ledger.charges
    assert (charge.steps, charge.multiplier_micro) == (STEPS, event.multiplier_micro)
    assert spent[1] <= 8000
    with pytest.raises(CrimsonError, match="all 3 releases are charged"):
        federation.round()


def test_a_policy_that_promises_a_release_more_than_its_steps_pay_for_starts_no_enclave(play):
    greedy = replace(AT_NODES, releases=RELEASES + 1)
    with pytest.raises(CrimsonError, match="4 releases cost epsilon"):
        federation_of(play, privacy=greedy)
