"""The five decisions of a federation, each as one question to the signed access rules."""

from crimson_protocol.policy.access import Decision, Entity, Question
from crimson_protocol.policy.document import (
    OperatorEntry,
    Policy,
    RosterEntry,
    model_entity,
    node_entity,
    training,
)

ENCLAVE = "enclave"


def may_join(policy: Policy, entry: RosterEntry) -> Decision:
    """May a node be listed? Also refused for a kind that the enrolment rules do not name."""
    if entry.kind not in policy.enrolment.kinds:
        return Decision(False, (), f"the policy enrols no {entry.kind.replace('_', ' ')}")
    return policy.control.decide(
        Question("join", node_entity(entry), Entity("Federation", policy.federation))
    )


def may_train(policy: Policy, entry: RosterEntry, model: str) -> Decision:
    """May a node take part in rounds of a model? Raises PolicyRefusal(MODEL_REJECTED) for an unlisted one."""
    return policy.control.decide(training(entry, policy.rules(model)))


def may_start(policy: Policy, operator: OperatorEntry, model: str, round: int) -> Decision:
    """May an operator start a round of a model? Raises PolicyRefusal(MODEL_REJECTED)."""
    return policy.control.decide(
        Question("start-round", _operator(operator), model_entity(policy.rules(model)), {"round": round})
    )


def may_release(
    policy: Policy, model: str, *, round: int, accepted: int, dropped: int, simulated: bool
) -> Decision:
    """May the enclave release a round's result? `simulated`: no hardware stands behind its evidence."""
    kind = "sim" if simulated else "hardware"
    enclave = Entity("Enclave", ENCLAVE, {"kind": kind, "simulated": simulated})
    context = {"round": round, "accepted": accepted, "dropped": dropped}
    return policy.control.decide(Question("release", enclave, model_entity(policy.rules(model)), context))


def may_export(policy: Policy, operator: OperatorEntry, model: str, round: int) -> Decision:
    """May an operator, as the platform's backend is one, take a released model out of the federation?"""
    return policy.control.decide(
        Question("export", _operator(operator), model_entity(policy.rules(model)), {"round": round})
    )


def _operator(operator: OperatorEntry) -> Entity:
    return Entity("Operator", operator.name, {"roles": operator.roles})
