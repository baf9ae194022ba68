"""A node's masking step against the keystreams that it cannot do without."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from tests.playground import entropy, parse

from benchmarks.federation import LocalEnclave, Nodes, numbers, parties, play, shared_update
from benchmarks.goals import Row, at_most
from benchmarks.timing import against, keystreams
from crimson_node.encoding import encode_update
from crimson_node.rounds.submit import check_set, mask, open_deliveries
from crimson_node.state import SharesDealt
from crimson_protocol.agreement import Dealt
from crimson_protocol.entropy import Fill
from crimson_protocol.secret.keys import Secret
from crimson_protocol.secret.masking import (
    apply_streams,
    keystream_fill,
    pair_added,
    pair_stream,
    self_stream,
)
from crimson_protocol.wire.messages.submit import Shared

MASK_GOAL = 1.5
EXPAND_GOAL = 1.33
"""Three quarters of the keystream's own rate; the limit of two passes over the cache is 1.18."""


@dataclass(frozen=True)
class MaskingNode:
    """Everything that the masking step of one node takes."""

    me: int
    state: SharesDealt
    dealt: Dealt
    pairs: Mapping[int, Secret] = field(repr=False)

    def mask(self) -> memoryview:
        """The node's real step: encode, derive every key, expand, add, pack."""
        seed, suite = Secret.fresh(entropy(0)), self.dealt.agreement.terms.offer.suite
        fill: Fill = keystream_fill(seed, suite)
        layout = self.dealt.agreement.terms.layout
        vector = encode_update(self.state.update, layout, fill)
        return mask(self.state, self.me, self.dealt, self.pairs, vector)

    def expand_and_add(self, words: np.ndarray) -> None:
        """The same streams into a vector that is there already."""
        part, t1 = self.dealt.agreement.terms.layout.slices()[0], self.dealt.t1
        streams = [self_stream(self.state.secrets.seed, t1, self.me, part, added=True)]
        streams += [
            pair_stream(secret, t1, self.me, peer, part, added=pair_added(self.me, peer))
            for peer, secret in sorted(self.pairs.items())
        ]
        apply_streams(words, streams, self.dealt.agreement.terms.offer.suite)


def masking_node(neighbours: int, parameters: int, **changes: object) -> MaskingNode:
    """A node of a dense cohort with so many mask neighbours.

    Keys are agreed in a real round over a short vector; then the vector is made longer, which changes
    nothing but its length, so that setting the node up takes no memory that could hide what masking takes.
    """
    short = numbers(neighbours + 1, min(parameters, 64), **changes)
    made = parties(short, neighbours + 1)
    nodes = Nodes(made)
    said = play(LocalEnclave(made), nodes, "shared")
    agent = nodes.agents[0]
    assert isinstance(agent.state, SharesDealt)
    shared = next(parse(data) for recipient, data in said if recipient == 0)
    assert isinstance(shared, Shared)
    dealt = check_set(agent.state, agent.member, shared)
    pairs = open_deliveries(agent.state, agent.member, dealt, shared).pairs
    terms = dealt.agreement.terms
    long = replace(short, parameters=parameters)
    terms = replace(terms, offer=replace(terms.offer, numbers=long))
    dealt = replace(dealt, agreement=replace(dealt.agreement, terms=terms))
    return MaskingNode(0, replace(agent.state, update=shared_update(long)), dealt, pairs)


def node_masking(parameters: int, neighbours: int, repeats: int) -> list[Row]:
    """The whole step, and its inner loop alone, both over k + 1 keystreams of the vector's length."""
    node = masking_node(neighbours, parameters)
    floor = keystreams(neighbours + 1, 4 * parameters)
    whole = against(floor, node.mask, repeats)
    words = np.zeros(node.dealt.agreement.terms.layout.length, np.uint32)
    inner = against(floor, lambda: node.expand_and_add(words), repeats)
    at = f"d = {parameters:,}, k = {neighbours}"
    return [
        at_most(f"node masking, {at}", whole.ratio, MASK_GOAL, "x AES-CTR floor"),
        at_most(f"node expand and add, {at}", inner.ratio, EXPAND_GOAL, "x AES-CTR floor"),
    ]
