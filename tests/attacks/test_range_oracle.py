"""A node that adds a value near the edge of the range, to learn from a refusal what others' sum is without noise."""

import numpy as np
import pytest
from tests.adversary import finish
from tests.playground import MODEL, Play, private_parties

from crimson_node.encoding import encode_update
from crimson_node.member import Update
from crimson_protocol.policy.privacy import noise_tail, sigma_micro
from crimson_protocol.refusal import Refusal
from crimson_protocol.transcript import model_digest

NODES, BAD, THRESHOLD = 6, 5, 4096


def probed(play, share: float, edge: int, **changes: object) -> Play:
    """A round in which site 0 contributes `share` of its clip to lane 0, and the attacker the rest up to an edge."""
    parties = private_parties(NODES, **changes)
    federation = play(NODES, parties=parties, numbers=parties.policy.rules(MODEL).numbers)
    clip = federation.numbers.clip_micro / 1e6
    updates = {}
    for node in range(NODES):
        values = np.zeros(federation.numbers.parameters, np.float32)
        values[0] = clip * share if node == 0 else 0.0
        updates[node] = Update(MODEL, model_digest(federation.session.base(MODEL)), values, 1)

    def encode(update, layout, fill):
        lanes = encode_update(update, layout, fill)
        layout.write(lanes, 0, np.array([(edge - THRESHOLD) % 2**32], np.uint32))
        return lanes

    federation.agents[BAD]._encode = encode
    federation.prepare(updates)
    return federation


@pytest.mark.parametrize("share", [0.0, 0.125])
@pytest.mark.parametrize("seed", range(4))
def test_the_edge_of_the_range_tells_nothing_of_a_sum_before_its_noise(play, share, seed):
    """Without noise first, a share of an eighth, a fifteenth of the noise, decided the round."""
    federation = probed(play, share, NODES << 16, seed=seed)
    assert sigma_micro(federation.policy.rules(MODEL)) > 10**6 * (1 << 13)
    assert finish(federation, federation.open()) == "Released"


def test_beyond_what_noise_can_add_a_sum_is_refused_whoever_contributes(play):
    parties = private_parties(NODES)
    tail = noise_tail(parties.policy.rules(MODEL).numbers)
    for share in (0.0, 0.125):
        federation = probed(play, share, 3 * (NODES << 16) + 3 * tail)
        assert finish(federation, federation.open()) == "Aborted"
        assert federation.session.state.code is Refusal.OUT_OF_RANGE
