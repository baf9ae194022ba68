"""One model's task at a node: which released artifacts it starts from, and the update made from them."""

from dataclasses import dataclass, field

from crimson_node.data.rows import SurvivalRows
from crimson_node.learning.contribution import contribute, standardised
from crimson_node.learning.plan import MAX_PLAN, TrainingPlan
from crimson_node.learning.ranges import scaled_by_ranges
from crimson_node.member import Update
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import CallerFault
from crimson_protocol.policy.document import ModelRules, Policy
from crimson_protocol.refusal import Refusal


@dataclass(frozen=True)
class Task:
    """What a policy tells every node to compute for one model.

    base: the model whose current artifact an update is made on. scale: the model whose released moments
    standardise the rows first, None where the plan takes them as they are.
    """

    rules: ModelRules = field(repr=False)
    plan: TrainingPlan = field(repr=False)
    base: str
    scale: str | None

    @classmethod
    def of(cls, policy: Policy, model: str) -> "Task":
        """The task of a model of the policy. Raises PolicyRefusal, and PeerFault for a plan that does not parse."""
        rules = policy.rules(model)
        plan = TrainingPlan.from_bytes(rules.plan, MAX_PLAN)
        return cls(rules, plan, rules.base or model, plan.scale_model)

    def update(self, base: bytes, moments: bytes | None, rows: SurvivalRows, entropy: Entropy) -> Update:
        """The update on the artifact `base` from a site's rows as its file gave them."""
        if self.scale is not None:
            if moments is None:
                raise CallerFault(Refusal.MODEL_REJECTED, f"no released {self.scale} to standardise with")
            rows = standardised(rows, moments)
        elif self.plan.ranges:
            rows = scaled_by_ranges(rows, self.plan.public_ranges)
        return contribute(self.rules, self.plan, base, rows, entropy)
