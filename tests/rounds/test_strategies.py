"""What strategies make of a round: published known answers, through the secure path and in plain arithmetic.

F_i = a_i/2 (x - c_i)² with a = (1, 2, 1/2), c = (1, -1, 4), p = (0.5, 0.3, 0.2), rate 0.1, steps (1, 5, 10) from 0:
the quadratic of Wang et al. 2020, section 4, whose rounds have closed forms.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.playground import MODEL, Play, default_numbers, default_rules, make_parties, parse

from crimson_enclave.aggregation.memory import Memory
from crimson_enclave.aggregation.optimisers import step
from crimson_node.encoding import encode_update
from crimson_node.member import Update
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.errors import CallerFault, PolicyRefusal
from crimson_protocol.policy.document import ServerRules
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.transcript import model_digest

CURVATURE, CENTRE, WEIGHTS, STEPS, RATE = (1, 2, 0.5), (1, -1, 4), (5, 3, 2), (1, 5, 10), 0.1
FEDAVG, FEDNOVA = 0.1693144486, 0.1670473794
CLIP = 2.0


def local_end(node: int) -> float:
    """x after the node's gradient steps from 0, in closed form."""
    return CENTRE[node] * (1 - (1 - RATE * CURVATURE[node]) ** STEPS[node])


def federation_of(play, strategy: str, **changes: object) -> Play:
    knobs = {
        "parameters": 1,
        "counters": 0,
        "weight_cap": 10,
        "clip_micro": round(CLIP * 1e6),
        "value_bits": 24,
    }
    numbers = default_numbers(3, **knobs, steps_cap=10 if strategy == "fednova" else 0)
    parties = make_parties(3, numbers, strategy=strategy, **changes)
    return play(3, parties=parties, numbers=numbers)


def finish(federation: Play, updates) -> float:
    federation.prepare(updates)
    said = federation.open()
    for _ in range(7):
        federation.deliver(said)
        if federation.session.state.phase.value in ("Released", "Aborted"):
            break
        said = federation.close()
    assert federation.session.state.phase.value == "Released"
    return float(Artifact.from_bytes(federation.session.artifacts[MODEL], MAX_ARTIFACT).vector()[0])


def updates_of(federation: Play, divided: bool) -> dict[int, Update]:
    digest, made = model_digest(federation.session.base(MODEL)), {}
    for node in range(3):
        steps = STEPS[node] if divided else 1
        change = np.array([local_end(node) / steps], np.float32)
        made[node] = Update(MODEL, digest, change, WEIGHTS[node], (), float(steps))
    return made


def test_local_ends_are_the_published_ones():
    assert [local_end(node) for node in range(3)] == pytest.approx([0.1, -0.67232, 1.60505224], abs=1e-8)
    ends = np.array([local_end(node) for node in range(3)])
    shares, steps = np.array(WEIGHTS) / 10, np.array(STEPS)
    assert shares @ ends == pytest.approx(FEDAVG, abs=1e-9)
    assert (shares @ steps) * (shares @ (ends / steps)) == pytest.approx(FEDNOVA, abs=1e-9)


@pytest.mark.parametrize(("strategy", "expected"), [("fedavg", FEDAVG), ("fednova", FEDNOVA)])
def test_the_published_round_through_the_secure_path(play, strategy, expected):
    federation = federation_of(play, strategy)
    found = finish(federation, updates_of(federation, divided=strategy == "fednova"))
    # Two roundings a node, of a quantum each over weights that add up to one cap; steps up to ten times that.
    quantum = CLIP / 2**24
    assert found == pytest.approx(expected, abs=3 * quantum * (1 + max(STEPS)))
    receipt = verify_receipt(federation.session.receipts[-1], federation.session.instance.signing.public)
    assert receipt.strategy == strategy


def test_fednova_with_equal_steps_is_fedavg(play):
    results = []
    for strategy, steps in (("fedavg", 1), ("fednova", 4)):
        federation = federation_of(play, strategy)
        digest = model_digest(federation.session.base(MODEL))
        made = {
            node: Update(
                MODEL, digest, np.array([local_end(node) / steps], np.float32), WEIGHTS[node], (), steps
            )
            for node in range(3)
        }
        results.append(finish(federation, made))
    assert results[0] == pytest.approx(results[1], abs=8 * 3 * CLIP / 2**24)


CHANGES = np.random.default_rng(0).normal(0, 1, (6, 4))


def moved(strategy: str, server: ServerRules) -> np.ndarray:
    """The model after six rounds of made-up changes."""
    rules = default_rules(default_numbers(4, parameters=4), strategy=strategy, server=server)
    model, memory = np.zeros(4), Memory()
    for change in CHANGES:
        after = step(strategy, rules, model, change, memory)
        model, memory = after.model, Memory.from_bytes(after.memory.to_bytes(), 1 << 20)
    return model


def test_fedavgm_is_stochastic_gradient_descent_with_momentum():
    """torch's own optimiser, given the negated change as gradient."""
    point = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([point], lr=0.3, momentum=0.9)
    for change in CHANGES:
        point.grad = torch.from_numpy(-change)
        optimiser.step()
    found = moved("fedavgm", ServerRules(300_000, 900_000))
    assert found == pytest.approx(point.detach().numpy(), abs=1e-12)


@pytest.mark.parametrize("strategy", ["fedadam", "fedyogi"])
def test_adaptive_strategies_follow_their_recursion(strategy):
    """Reddi et al. 2021, algorithm 2, number by number."""
    rate, first, second, adaptivity = 0.05, 0.9, 0.99, 1e-3
    expected = []
    for lane in range(4):
        x = m = v = 0.0
        for change in CHANGES[:, lane].tolist():
            m = first * m + (1 - first) * change
            square = change * change
            sign = (v > square) - (v < square)
            v = (
                second * v + (1 - second) * square
                if strategy == "fedadam"
                else v - (1 - second) * square * sign
            )
            x += rate * m / (v**0.5 + adaptivity)
        expected.append(x)
    assert moved(strategy, ServerRules(50_000, 900_000, 990_000, 1000)) == pytest.approx(expected, abs=1e-9)


def test_weight_decay_pulls_the_model_towards_zero():
    rules = default_rules(default_numbers(4, parameters=1), server=ServerRules(500_000, 0, 0, 0, 100_000))
    after = step("fedavg", rules, np.array([2.0]), np.array([1.0]), Memory())
    assert after.model == pytest.approx([2 + 0.5 * 1 - 0.5 * 0.1 * 2], abs=1e-15)


def altered(federation: Play, lane: int, value: int) -> None:
    """One node puts another number into a lane, in quanta."""

    def lying(update, layout, fill):
        vector = encode_update(update, layout, fill)
        layout.read(vector, lane, lane + 1)[:] = np.uint32(value % 2**32)
        return vector

    federation.agents[1]._encode = lying


@pytest.mark.parametrize("steps", [1 << 24, -(1 << 22)])
def test_a_false_number_of_steps_loses_the_round(play, steps):
    """More steps than the cap for its weight, or fewer than none."""
    federation = federation_of(play, "fednova")
    altered(federation, 2, steps)
    federation.prepare(updates_of(federation, divided=True))
    said = federation.open()
    for _ in range(6):
        federation.deliver(said)
        said = federation.close()
    assert federation.session.state.code is Refusal.OUT_OF_RANGE


@pytest.mark.parametrize("steps", [0.5, 11.0])
def test_an_honest_node_claims_no_steps_outside_the_cap(play, steps):
    federation = federation_of(play, "fednova")
    made = updates_of(federation, divided=True)
    made[0] = replace(made[0], steps=steps)
    federation.prepare(made)
    with pytest.raises(CallerFault) as caught:
        federation.agents[0].receive(federation.open()[0][1], federation.consistency(0))
    assert caught.value.code is Refusal.OUT_OF_RANGE


SWITCHABLE = {
    "alternatives": ("fedadam", "fedavgm"),
    "server": ServerRules(1_000_000, 900_000, 990_000, 1000),
}


def test_an_operator_may_choose_what_the_policy_allows(play):
    federation = federation_of(play, "fedavg", **SWITCHABLE)
    federation.prepare(updates_of(federation, divided=False))
    said = [(None, federation.session.open(MODEL, strategy="fedadam"))]
    assert parse(said[0][1]).strategy == "fedadam"
    for _ in range(7):
        federation.deliver(said)
        if federation.session.state.phase.value == "Released":
            break
        said = federation.close()
    receipt = verify_receipt(federation.session.receipts[-1], federation.session.instance.signing.public)
    assert receipt.strategy == "fedadam"
    assert federation.session.accounts.memory(MODEL).second


def test_and_nothing_else(play):
    federation = federation_of(play, "fedavg", **SWITCHABLE)
    federation.prepare(updates_of(federation, divided=False))
    with pytest.raises(PolicyRefusal) as caught:
        federation.session.open(MODEL, strategy="fedyogi")
    assert caught.value.code is Refusal.UNSUPPORTED and federation.session.places == {}


def test_nodes_refuse_a_strategy_that_the_policy_does_not_allow(play):
    federation = federation_of(play, "fedavg", **SWITCHABLE)
    offer = federation.until("offer")
    federation.deliver(federation.alter(offer, strategy="fedyogi"))
    assert {fault.code for fault in federation.refused.values()} == {Refusal.NUMBERS_DIFFER}
