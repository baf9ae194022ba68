"""Nodes that mean to send what a sketch filter would have caught: after a lost round, past a flag, by false weights."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.playground import MODEL, Play, default_numbers, parse, sketched_parties

from crimson_enclave.rounds.submit import close_submit
from crimson_enclave.state import Aborted, Sketching
from crimson_node.encoding import encode_update
from crimson_node.member import Update
from crimson_protocol.errors import CallerFault
from crimson_protocol.policy.document import SketchRules
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.confirm import Freeze
from crimson_simulation.attacks.encoding import encode_unclipped

NODES, LANES, BAD = 12, 2400, 5


def federation_of(play: Callable[..., Play], every: int, **numbers: object) -> Play:
    known = {"parameters": LANES, "counters": 0, "clip_micro": 1_000_000, **numbers}
    sketch = SketchRules(128, 4, every)
    made = default_numbers(NODES, **known)
    return play(
        NODES, parties=sketched_parties(NODES, sketch=sketch, robust_tolerance=2, numbers=made), numbers=made
    )


def updates(federation: Play, weight: int = 4) -> dict[int, Update]:
    """Alike but for a tenth of their length, all within the clip."""
    common, made = np.random.default_rng(0).normal(size=LANES), {}
    for node in range(NODES):
        own = np.random.default_rng(node + 1).normal(size=LANES)
        values = 0.5 * common / np.linalg.norm(common) + 0.05 * own / np.linalg.norm(own)
        made[node] = Update(
            MODEL, model_digest(federation.session.base(MODEL)), values.astype(np.float32), weight
        )
    return made


def poisoned(update, layout, fill):
    return encode_unclipped(replace(update, parameters=-5 * update.parameters), layout, fill)


def finish(federation: Play, said, silent: Callable[[object], bool] = lambda _: False) -> str:
    """To the end; the bad node does not hear messages that `silent` picks."""
    for _ in range(8):
        deaf = bool(said) and silent(parse(said[0][1]))
        federation.deliver(said, set(range(NODES)) - ({BAD} if deaf else set()))
        if federation.session.state.phase.value in ("Released", "Aborted"):
            break
        said = federation.close()
    return federation.session.state.phase.value


def accepted(federation: Play) -> set[int]:
    signing = federation.session.instance.signing.public
    return {one.node for one in verify_receipt(federation.session.receipts[-1], signing).accepted}


def test_a_round_that_a_liar_lost_is_sketched_again_on_its_new_vectors(play):
    """The cohort of the lost verdict is bound; its next vectors are as unknown as the first ones were."""
    federation = federation_of(play, 1)
    federation.prepare(updates(federation))
    said = federation.open()
    while not isinstance(federation.session.state, Sketching):
        federation.deliver(said)
        state = federation.agents[BAD].state
        if getattr(state, "encoded", None) is not None:
            lie = state.encoded.copy()
            state.dealt.agreement.terms.layout.read(lie, 7, 8)[:] += np.uint32(1)
            federation.agents[BAD].state = replace(state, encoded=lie)
        said = federation.close()
    assert finish(federation, said) == "Aborted"
    assert federation.session.state.code is Refusal.SKETCH_DIFFERS
    federation.agents[BAD]._encode = poisoned
    federation.prepare(updates(federation))
    assert finish(federation, federation.open()) == "Aborted"
    assert federation.session.state.code is Refusal.SURVIVORS_CHANGED
    assert federation.session.accounts.suspected[MODEL] == {BAD}
    assert federation.session.published == {}


def test_a_flagged_node_that_skips_the_next_sketch_stays_out(play):
    federation = federation_of(play, 2)
    federation.agents[BAD]._encode = poisoned
    for round_ in range(1, 5):
        federation.prepare(updates(federation))
        skipping = round_ == 3
        said = federation.open()
        finish(federation, said, lambda message, skip=skipping: skip and isinstance(message, Freeze))
        assert BAD not in accepted(federation)
        assert federation.session.accounts.suspected[MODEL] == {BAD}


def test_a_node_that_passes_a_filter_is_no_longer_suspected(play):
    federation = federation_of(play, 1)
    federation.agents[BAD]._encode = poisoned
    federation.prepare(updates(federation))
    assert finish(federation, federation.open()) == "Released" and BAD not in accepted(federation)
    federation.agents[BAD]._encode = encode_update
    federation.prepare(updates(federation))
    assert finish(federation, federation.open()) == "Released" and BAD in accepted(federation)
    assert federation.session.accounts.suspected[MODEL] == frozenset()


def test_weights_that_cancel_do_not_stop_the_next_filter(play):
    """Between sketched rounds a false weight makes the mean as long as it likes; only its direction is compared."""
    federation = federation_of(play, 2, weight_cap=1)

    def heavy(update, layout, fill):
        lanes = encode_update(update, layout, fill)
        layout.write(lanes, 0, np.array([(NODES << 16) - 70_000], np.uint32))
        layout.write(lanes, LANES, np.array([(-(NODES - 1) * (1 << 16) + 1) % 2**32], np.uint32))
        return lanes

    for round_ in range(1, 4):
        federation.agents[BAD]._encode = heavy if round_ == 2 else encode_update
        federation.prepare(updates(federation, weight=1))
        assert finish(federation, federation.open()) == "Released"


def test_an_enclave_that_leaves_the_seed_out_gets_no_verdict_confirmed(play):
    """Without a sketch nothing would be filtered: a node refuses such a Freeze where the policy wants one."""
    federation = federation_of(play, 1)
    federation.prepare(updates(federation))
    said = federation.open()
    while federation.session.state.phase.value != "Submitting":
        federation.deliver(said)
        said = federation.close()
    federation.deliver(said)
    federation.session.state, messages = close_submit(federation.session.state)
    federation.deliver([(None, messages[0])])
    faults = {(fault.culprit, fault.code) for fault in federation.refused.values()}
    assert len(federation.refused) == NODES
    assert faults == {("enclave", Refusal.NUMBERS_DIFFER)}


@pytest.mark.parametrize("phase", ["Sketching", "Confirming", "Unmasking"])
def test_a_mistake_of_the_enclaves_own_ends_the_attempt_and_holds_nobody_up(play, monkeypatch, phase):
    federation = federation_of(play, 1)
    federation.prepare(updates(federation))
    said = federation.open()
    while federation.session.state.phase.value != phase:
        federation.deliver(said)
        said = federation.close()
    federation.deliver(said)

    def mistaken(*_):
        raise CallerFault(Refusal.OUT_OF_RANGE, "a bound that was thought to hold")

    for name in ("sketch_closed", "confirm_closed", "unmask_closed"):
        monkeypatch.setattr(f"crimson_enclave.session.{name}", mistaken)
    federation.deliver(federation.close())
    state = federation.session.state
    assert isinstance(state, Aborted) and (state.code, state.again) == (Refusal.OUT_OF_RANGE, False)
    monkeypatch.undo()
    federation.prepare(updates(federation))
    assert finish(federation, federation.open()) == "Released"
