"""One key expands one vector once: no two slices, attempts, edges or owners ever share a keystream."""

import hashlib
from collections import Counter
from dataclasses import replace

import pytest
from tests.adversary import finish, others
from tests.playground import default_numbers, parse

import crimson_enclave.opening as opening
import crimson_node.rounds.submit as masking
from crimson_protocol.secret.masking import apply_streams


class Recorder:
    """Passes streams on and keeps a digest of every key with its sign."""

    def __init__(self) -> None:
        self.uses: list[tuple[bytes, bool]] = []

    def __call__(self, words, streams, suite) -> None:
        streams = list(streams)
        self.uses += [(hashlib.sha256(item.key.reveal()).digest(), item.added) for item in streams]
        apply_streams(words, streams, suite)

    def counts(self) -> Counter[bytes]:
        return Counter(key for key, _ in self.uses)


@pytest.fixture
def recorders(monkeypatch):
    node, enclave = Recorder(), Recorder()
    monkeypatch.setattr(masking, "apply_streams", node)
    monkeypatch.setattr(opening, "apply_streams", enclave)
    return node, enclave


def check(recorder: Recorder, selves: int, edges: int) -> None:
    """Every self key once and added; every pair key at both ends of one edge, with opposite signs."""
    counts = recorder.counts()
    assert Counter(counts.values()) == {1: selves, 2: edges}
    signs: dict[bytes, list[bool]] = {}
    for key, added in recorder.uses:
        signs.setdefault(key, []).append(added)
    assert all(sorted(found) in ([True], [False, True]) for found in signs.values())


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_keys_differ_by_slice_edge_and_owner(play, recorders, slices):
    node, _ = recorders
    federation = play(6, numbers=default_numbers(6, slices=slices))
    assert federation.round()
    check(node, 6 * slices, 15 * slices)


def test_keys_differ_by_attempt_round_and_restart(play, recorders):
    """Attempt 2 after a lost attempt 1, then round 2, then a restarted node: nothing is expanded twice."""
    node, _ = recorders
    federation = play(6, numbers=default_numbers(6, slices=2))
    federation.deliver(federation.until("shared"), [0, 1, 2])
    federation.deliver(federation.close())
    federation.prepare()
    assert finish(federation, federation.open(again=True)) == "Released"
    federation.agents[1] = federation.agent(1)
    federation.prepare()
    assert finish(federation, federation.open()) == "Released"
    # Attempt 1 was masked by three nodes alone: 3 edges at both ends, 9 at one end, with a sign of their own.
    counts = Counter(node.counts().values())
    assert counts == {1: 2 * (3 + 9 + 6 + 6), 2: 2 * (3 + 15 + 15)}


def test_what_the_enclave_takes_out_is_what_the_nodes_put_in(play, recorders):
    """Self keys of the accepted, and pair keys of those who left: no other key is ever rebuilt."""
    node, enclave = recorders
    federation = play(6, numbers=default_numbers(6, slices=2))
    assert federation.round(after_share=[4])
    assert federation.opened[-1][1] == tuple(others(federation, 4))
    put, taken = node.counts(), enclave.counts()
    assert set(taken) <= set(put)
    assert set(taken.values()) == {1}
    # Per slice: 5 self masks, and the 5 edges to the node that left. The 10 edges among the rest stay unknown.
    assert len(taken) == 2 * (5 + 5)
    assert all(put[key] == 1 for key in taken)


def test_two_views_of_the_shared_set_never_cancel(play, recorders):
    """T1 salts every stream: nodes that were shown different sets have no key in common."""
    node, _ = recorders
    federation = play(7)
    said = federation.until("shared")
    altered = []
    for recipient, data in said:
        message = parse(data)
        hidden = 6 if recipient < 3 else 5
        kept = [item for item in message.dealers if item.node != hidden]
        rows = [item for item in message.deliveries if item.dealer != hidden]
        altered.append(
            (recipient, federation.forge(replace(message, dealers=tuple(kept), deliveries=tuple(rows))))
        )
    federation.deliver(altered, range(5), upload=False)
    edges = Counter(node.counts().values())
    # Three nodes share one view, two the other: 3 + 1 edges meet, all others stand alone.
    assert edges == {1: 5 + (3 * 3 + 2 * 4), 2: 3 + 1}
