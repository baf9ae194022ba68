"""Attack 17: sums that leave the ring. Refused as a policy, exact at the boundary, caught where a node lies."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import as_node, finish, nothing_opened, others, send
from tests.playground import MODEL, NOW, default_numbers, lanes, load_policy, make_parties, parse

import crimson_node.rounds.submit as submit_step
from crimson_node.member import Update
from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.refusal import Refusal

# 7 nodes at 2^12 each stay below 2^15 in 16 ring bits; 8 nodes reach it.
TIGHT = {"ring_bits": 16, "value_bits": 12, "parameters": 6, "weight_cap": 1, "counters": 1}


def test_the_last_policy_that_fits_is_loaded_and_the_first_that_does_not_is_refused():
    fits = make_parties(7, default_numbers(7, **TIGHT))
    assert load_policy(fits.signed, fits.governor, NOW).serial == 1
    wraps = make_parties(8, default_numbers(8, **TIGHT))
    with pytest.raises(PolicyRefusal) as caught:
        load_policy(wraps.signed, wraps.governor, NOW)
    assert caught.value.code is Refusal.UNSOUND_POLICY
    assert "overflow" in caught.value.text


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "ring", [{}, {"ring_bits": 32, "value_bits": 24}, {"ring_bits": 13, "value_bits": 9}]
)
def test_extreme_inputs_of_everybody_are_exact(play, sign, ring):
    numbers = default_numbers(7, **{**TIGHT, **ring})
    federation = play(7, numbers=numbers)
    digest = federation.update(0).model_digest
    clip = numbers.clip_micro / 1e6
    values = np.zeros(6, np.float32)
    values[0] = sign * clip
    limit = 2**95 - 1 if sign > 0 else -(2**95)
    updates = {node: Update(MODEL, digest, values, 1, (limit,)) for node in range(7)}
    federation.prepare(updates)
    assert finish(federation, federation.open()) == "Released"
    assert np.array_equal(lanes(federation), federation.plain_sum(range(7)))
    totals, _ = federation.opened[-1]
    first = next(iter(totals.parameter_blocks()))[2][0]
    # The clip's norm bound is a relative 2^-15 above the norm, so each node may stay that far below its limit.
    assert 0 <= (7 << numbers.value_bits) - sign * first <= 7 * max(1, 2 ** (numbers.value_bits - 14))
    assert totals.counters() == [7 * limit]
    assert totals.weight == 7 << numbers.value_bits


def lie(play, monkeypatch, lane: int, value: int):
    """One node puts any word into a lane of its honest vector, under its honest masks."""
    federation = play(6, numbers=default_numbers(6, **{**TIGHT, "ring_bits": 20}))
    honest = submit_step.encode_update

    def lying(update, layout, fill):
        vector = honest(update, layout, fill)
        layout.read(vector, lane, lane + 1)[:] = np.uint32(value % 2**32)
        return vector

    said = federation.until("shared")
    federation.deliver(said, others(federation, 2))
    with monkeypatch.context() as patched:
        patched.setattr(submit_step, "encode_update", lying)
        federation.deliver(said, [2])
    return federation


@pytest.mark.parametrize("value", [6 << 13, -(6 << 13), 1 << 19])
@pytest.mark.parametrize("lane", [0, 5, 7])
def test_a_lane_beyond_what_its_nodes_may_contribute_loses_the_round(play, monkeypatch, lane, value):
    federation = lie(play, monkeypatch, lane, value)
    assert finish(federation, federation.close()) == "Aborted"
    state = federation.session.state
    assert (state.code, state.culprits, state.again) == (Refusal.OUT_OF_RANGE, (), False)
    nothing_opened(federation)


def test_a_negative_summed_weight_loses_the_round(play, monkeypatch):
    federation = lie(play, monkeypatch, 6, -(6 << 12))
    assert finish(federation, federation.close()) == "Aborted"
    assert federation.session.state.code is Refusal.OUT_OF_RANGE
    nothing_opened(federation)


@pytest.mark.parametrize("words", [0, 2, 2**20 - 1])
def test_count_words_that_do_not_add_up_lose_the_round(play, monkeypatch, words):
    federation = play(6)
    honest = submit_step.encode_update

    def lying(update, layout, fill):
        vector = honest(update, layout, fill)
        next(layout.counts(vector))[0] = words
        return vector

    said = federation.until("shared")
    federation.deliver(said, others(federation, 2))
    with monkeypatch.context() as patched:
        patched.setattr(submit_step, "encode_update", lying)
        federation.deliver(said, [2])
    assert finish(federation, federation.close()) == "Aborted"
    state = federation.session.state
    assert (state.code, state.culprits, state.again) == (Refusal.COUNT_WORDS_DIFFER, (), False)
    nothing_opened(federation)


def test_bits_above_the_ring_cannot_be_sent(play):
    """Packed words have ring_bits each: what would be above them is the next word, and the length is fixed."""
    federation = play(6, numbers=default_numbers(6, **{**TIGHT, "ring_bits": 20}))
    said = federation.until("shared")
    federation.deliver(said, others(federation, 2))
    reply = federation.deliver(said, [2], upload=False)[2]
    wide = bytes(4 * federation.session.state.dealt.agreement.terms.layout.length)
    header = replace(parse(reply.control), digest=hashlib.sha256(wide).digest(), length=len(wide))
    faults = send(federation, as_node(federation, 2, header), wide)
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-2", Refusal.WRONG_LENGTH)]
