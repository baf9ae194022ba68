"""Whoever follows docs/PROTOCOL.md computes the same bytes: every hash, mask and graph of a played round."""

import cbor2
import numpy as np
import pytest
from tests.playground import Play, default_numbers
from tests.vectors import second_implementation as second

from crimson_protocol import cohort, graph

NODES = 7


def body(envelope: bytes) -> list:
    return cbor2.loads(cbor2.loads(envelope)[2])


@pytest.fixture(scope="module")
def tape(tmp_path_factory) -> dict:
    """One honest round at 20 ring bits in three slices: what everybody said, and the nodes' secrets."""
    numbers = default_numbers(NODES, ring_bits=20, value_bits=12, slices=3, parameters=101)
    play = Play(tmp_path_factory.mktemp("second"), NODES, numbers=numbers)
    play.prepare()
    said = play.open()
    found = {"play": play, "offer": said[0][1], "advertised": play.deliver(said)}
    secrets = {node: play.agents[node].state.secrets for node in range(NODES)}
    found["seeds"] = {node: kept.seed.reveal() for node, kept in secrets.items()}
    found["roots"] = {node: kept.root.reveal() for node, kept in secrets.items()}
    said = play.close()
    found |= {"roster": said[0][1], "shares": play.deliver(said), "t0": play.session.state.agreement.t0}
    found["submits"] = play.deliver(play.close())
    found["t1"] = play.session.state.dealt.t1
    said = play.close()
    return found | {"freeze": said[0][1], "verdict": said[1][1], "confirms": play.deliver(said)}


def test_t0(tape):
    offer, policy = body(tape["offer"]), tape["play"].policy
    _, _, nonce = body(tape["roster"])
    digest = second.sha(tape["offer"])
    assert second.labelled("graph-nonce", nonce) == offer[13]
    keys = [[node, policy.roster[node].node, policy.roster[node].identity_key] for node in range(NODES)]
    rows = [[*key, second.sha(tape["advertised"][key[0]].control)] for key in keys]
    roster = second.labelled("roster", rows)
    seed = second.labelled("graph", roster, offer[14], nonce)
    buckets = second.labelled("buckets", policy.federation, keys)
    assert second.t0(offer, digest, roster, seed, buckets) == tape["t0"]
    claims = tape["play"].session.instance.claims
    assert second.labelled("claims", claims.to_plain()) == offer[9]


def manifests(tape) -> dict[int, list]:
    return {node: body(body(reply.control)[0]) for node, reply in tape["shares"].items()}


def test_manifests_and_t1(tape):
    for node, manifest in manifests(tape).items():
        leaves = [second.row_leaf(row) for row in body(tape["shares"][node].control)[1]]
        assert manifest == [tape["t0"], node, len(leaves), second.merkle(leaves)]
    assert second.t1(tape["t0"], manifests(tape)) == tape["t1"]


def test_pair_secrets_open_their_commitments(tape):
    for dealer, reply in tape["shares"].items():
        for row in body(reply.control)[1]:
            if row[3] is not None:
                secret = second.pair_secret(dealer, row[0], tape["t0"], tape["roots"])
                assert second.commit("commit-pair", secret) == row[3]


@pytest.mark.parametrize("node", range(NODES))
def test_masked_vectors(tape, node):
    play, numbers = tape["play"], body(tape["offer"])[8]
    inputs = tape["t0"], tape["t1"], tape["seeds"], tape["roots"]
    payload = second.masked(play.encoded[node], node, numbers, *inputs)
    assert payload == play.spool.vectors[node]
    assert body(tape["submits"][node].control) == [tape["t1"], node, second.sha(payload), len(payload)]


def test_count_words(tape):
    play, at = tape["play"], 0
    for _, length in second.slices(body(tape["offer"])[8]):
        for node in range(NODES):
            part = play.encoded[node][at : at + length]
            assert part[:4].tolist() == part[-4:].tolist() == [1, 0, 0, 0]
        at += length


def test_t2_and_v(tape):
    freeze, verdict = body(tape["freeze"]), body(tape["verdict"])
    assert verdict[0] == second.labelled("T2", tape["t1"], freeze[1])
    v = second.labelled("V", *verdict[:5])
    for node, reply in tape["confirms"].items():
        assert body(reply.control) == ["federation", "model", 1, node, v]


def test_buckets():
    seed, active = second.sha(b"buckets"), list(range(5, 48))
    for size in (1, 2, 10, 43, 60):
        assert second.buckets(seed, active, size) == graph.buckets(seed, active, size)


def test_sparse_graphs_and_their_numbers():
    nodes, active, seed = 180, 200, second.sha(b"graph")
    known = cohort.numbers(nodes, active, (1, 5), (1, 10))
    holders, bad_holders = second.sparse_degree(nodes, 40, 18, 3)
    neighbours, bad_neighbours = second.sparse_degree(nodes, 40, 18, 2)
    assert (known.holders, known.threshold) == (holders, bad_holders + 1)
    assert (known.neighbours, known.live_degree) == (neighbours, bad_neighbours + 2)
    drawn = graph.build_graph(seed, range(nodes), [range(nodes)], known)
    masks = {frozenset((i, j)) for i in range(nodes) for j in drawn.neighbours[i]}
    shares = {frozenset((i, j)) for i in range(nodes) for j in drawn.holders[i] - {i}}
    assert second.cycles(seed, "mask", nodes, neighbours) == masks
    assert second.cycles(seed, "shares", nodes, holders) == shares
    assert np.unique([len(drawn.neighbours[i]) for i in range(nodes)]).tolist() == [neighbours]
