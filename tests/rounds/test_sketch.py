"""Sketches between freeze and verdict: a poisoned update is left out of a sum that nobody saw a part of."""

from dataclasses import replace

import numpy as np
import pytest
from tests.playground import MODEL, Play, default_numbers, lanes, parse, sketched_parties

from crimson_enclave.dispatch import UntrustedFrame
from crimson_enclave.state import Confirming, Sketching
from crimson_node.member import Update
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.events import MAX_EVENT, Event
from crimson_protocol.policy.document import SketchRules
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import seal_sketch
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.sketch import Sketch, SketchedUpdate
from crimson_simulation.attacks.encoding import encode_unclipped

NODES, BAD = 12, 5


@pytest.fixture
def federation(play) -> Play:
    # At 128 buckets a norm is estimated to 6 %, and 12 nodes are compared.
    parties = sketched_parties(NODES, sketch=SketchRules(128, 4, 1), robust_tolerance=2, **wide())
    return play(NODES, parties=parties, numbers=parties.policy.rules(MODEL).numbers)


def wide() -> dict:
    """Twelve nodes with enough parameters for 128 buckets."""
    return {"numbers": default_numbers(NODES, parameters=2400, counters=0, clip_micro=1_000_000)}


def updates(federation: Play) -> dict[int, Update]:
    """Honest nodes agree but for a tenth; one sends ten times as much the other way, within each lane's range."""
    common = np.random.default_rng(0).normal(0, 1, 2400)
    common *= 0.5 / np.linalg.norm(common)
    made = {}
    for node in range(NODES):
        own = np.random.default_rng(node + 1).normal(0, 1, 2400)
        values = common + own * 0.05 / np.linalg.norm(own)
        digest = model_digest(federation.session.base(MODEL))
        made[node] = Update(MODEL, digest, values.astype(np.float32), 4)
    return made


def poison(federation: Play) -> None:
    """One node encodes -5 times its update, unclipped."""

    def encode(update, layout, fill):
        return encode_unclipped(replace(update, parameters=-5 * update.parameters), layout, fill)

    federation.agents[BAD]._encode = encode


def finish(federation: Play, said) -> str:
    """Play on honestly from what was said last."""
    for _ in range(8):
        federation.deliver(said)
        if federation.session.state.phase.value in ("Released", "Aborted"):
            break
        said = federation.close()
    return federation.session.state.phase.value


def test_a_poisoned_update_is_left_out_of_the_sum_exactly(federation):
    honest = updates(federation)
    poison(federation)
    federation.prepare(honest)
    assert finish(federation, federation.open()) == "Released"
    accepted = [node for node in range(NODES) if node != BAD]
    assert federation.opened[-1][1] == tuple(accepted)
    assert np.array_equal(lanes(federation), federation.plain_sum(accepted))
    artifact = Artifact.from_bytes(federation.session.artifacts[MODEL], MAX_ARTIFACT).vector()
    mean = np.mean([honest[node].parameters for node in accepted], axis=0)
    # Each of eleven nodes rounds within a quantum of 4/16 of its weight.
    assert np.abs(artifact - mean).max() <= 4 / 2**16
    receipt = verify_receipt(federation.session.receipts[-1], federation.session.instance.signing.public)
    assert receipt.rejected == (BAD,) and receipt.robust_rule == "sketch-filter"
    assert receipt.sketched_micro == -(-128 * 10**6 // 2400)
    flags = [event for event in events(federation) if event.kind == "flag"]
    assert [(event.culprit, event.code) for event in flags] == [(f"site-{BAD}", "sketch-norm")]


def events(federation: Play) -> list:
    return [Event.from_bytes(leaf, MAX_EVENT) for leaf in federation.session.log.leaves]


def test_the_seed_comes_after_the_freeze_and_the_verdict_after_the_sketches(federation):
    said = federation.until("frozen")
    assert [type(parse(data)).__name__ for _, data in said] == ["Freeze"]
    assert len(parse(said[0][1]).sketch_seed) == 32
    assert isinstance(federation.session.state, Sketching)
    federation.deliver(said)
    assert [type(parse(data)).__name__ for _, data in federation.close()] == ["Verdict"]
    assert isinstance(federation.session.state, Confirming)


def test_who_sends_no_sketch_is_left_out(federation):
    federation.prepare(updates(federation))
    stages, said = federation.stages, federation.open()
    for stage in stages:
        silent = {3} if stage == "frozen" else set()
        federation.deliver(said, set(range(NODES)) - silent)
        if stage != "release":
            said = federation.close()
    assert federation.session.state.phase.value == "Released"
    assert 3 not in federation.opened[-1][1] and len(federation.opened[-1][1]) == NODES - 1


def forged(federation: Play, node: int, **changes: object) -> tuple:
    """A signed sketch of one node with another content; what the enclave makes of it."""
    state = federation.session.state
    t2 = changes.get("t2", state.frozen.t2)
    values = changes.get("values", bytes(8 * 128))
    content = SketchedUpdate(changes.get("weight", 1), values).to_bytes()
    box = seal_sketch(state.secrets.round_key.public, t2, node, content)
    control = sign_message(federation.agents[node].member.identity, node, Sketch(t2, node, box))
    return federation.session.receive(UntrustedFrame(control))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"t2": bytes(32)}, Refusal.WRONG_CONTEXT),
        ({"values": bytes(8 * 127)}, Refusal.WRONG_LENGTH),
        ({"values": bytes(8 * 129)}, Refusal.WRONG_LENGTH),
        ({"weight": (1 << 16) + 1}, Refusal.OUT_OF_RANGE),
    ],
)
def test_a_sketch_that_does_not_fit_is_refused(federation, changes, code):
    federation.until("frozen")
    faults = forged(federation, 2, **changes)
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-2", code)]
    assert 2 not in federation.session.state.sketched.values


def test_a_second_sketch_changes_nothing(federation):
    said = federation.until("frozen")
    federation.deliver(said)
    first = federation.session.state.sketched.values[2]
    assert forged(federation, 2) == ()
    assert federation.session.state.sketched.values[2] is first


def test_every_other_round_goes_without_and_suspects_stay_out(play):
    parties = sketched_parties(NODES, sketch=SketchRules(128, 4, 2), robust_tolerance=2, **wide())
    federation = play(NODES, parties=parties, numbers=parties.policy.rules(MODEL).numbers)
    poison(federation)
    for expected in (True, False, True):
        stages = federation.stages
        assert ("verdict" in stages) is expected
        federation.prepare(updates(federation))
        assert finish(federation, federation.open()) == "Released"
        assert BAD not in federation.opened[-1][1]
    assert federation.agents[0].seen.exposure[MODEL] == 2 * -(-128 * 10**6 // 2400)


def test_too_few_vectors_end_the_attempt_before_anybody_shows_a_sketch(federation):
    said = federation.until("shared")
    federation.deliver(said, [0, 1, 2])
    federation.close()
    assert federation.session.state.code is Refusal.COHORT_TOO_SMALL
    assert federation.session.accounts.sketched == {}


def test_no_text_shows_what_was_sketched():
    assert repr(SketchedUpdate(12345, b"secret")) == "SketchedUpdate()"
