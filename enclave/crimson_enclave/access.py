"""Access decisions that the enclave enforces, in the form that its log keeps."""

from collections.abc import Iterator

from crimson_protocol.events import Decided
from crimson_protocol.policy.access import Decision
from crimson_protocol.policy.decisions import ENCLAVE, may_release, may_train
from crimson_protocol.policy.document import Policy
from crimson_protocol.survivors import Judged

_MOST = 8


def training_denied(policy: Policy, model: str) -> Iterator[Decided]:
    """Active nodes that may not train a model, each with what forbids it."""
    for index in sorted(set(policy.active()) - set(policy.members(model))):
        entry = policy.roster[index]
        yield _decided("train", entry.node, model, may_train(policy, entry, model))


def release_decided(policy: Policy, judged: Judged) -> Decided:
    """Whether a judged round's result may leave."""
    offer, verdict = judged.agreement.terms.offer, judged.verdict
    decision = may_release(
        policy,
        offer.model,
        round=offer.round,
        accepted=len(verdict.accepted),
        dropped=len(verdict.dropped),
        simulated=offer.simulated,
    )
    return _decided("release", ENCLAVE, offer.model, decision)


def _decided(action: str, principal: str, resource: str, decision: Decision) -> Decided:
    return Decided(action, principal, resource, decision.allowed, decision.policies[:_MOST])
