"""What each model has used up and remembers: privacy budget, exposure by sketches, who is suspected, moments."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from crimson_enclave.aggregation.memory import Memory
from crimson_enclave.privacy.accountant import Event, epsilon_thousandths
from crimson_enclave.privacy.ledger import Ledger
from crimson_enclave.sealed.record import Charge
from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.exposure import exposure_micro, refuse_exposure, sketched_round
from crimson_protocol.policy.document import ModelRules, Policy
from crimson_protocol.policy.privacy import adjacency, charged_unit, multiplier_micro
from crimson_protocol.policy.privacy_rules import PrivacyRules
from crimson_protocol.receipt import PrivacyCharge
from crimson_protocol.refusal import Refusal


@dataclass(frozen=True)
class Accounts:
    """Immutable, so that a question whose outcome could not be kept is undone by keeping the old one.

    sketched: the sum of m/d over a model's rounds, in millionths.
    """

    ledger: Ledger = field(default_factory=Ledger)
    memories: Mapping[str, Memory] = field(default_factory=dict, repr=False)
    sketched: Mapping[str, int] = field(default_factory=dict)
    suspected: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def refuse_round(self, rules: ModelRules, round_: int) -> None:
        """PolicyRefusal(BUDGET_EXHAUSTED, EXPOSURE_EXCEEDED) for a round that budget or exposure have no room for."""
        if rules.privacy is not None:
            self._refuse_over_budget(rules, rules.privacy)
        if sketched_round(rules, round_):
            refuse_exposure(self.sketched.get(rules.model, 0), rules)

    def charged(self, rules: ModelRules, place: tuple[int, int]) -> tuple["Accounts", PrivacyCharge | None]:
        """The accounts once the attempt at `place` is charged, and what its receipt will say of it.

        Raises PolicyRefusal(BUDGET_EXHAUSTED); CallerFault(REPLAYED) where the attempt was charged before.
        """
        privacy = rules.privacy
        if privacy is None:
            return self, None
        self._refuse_over_budget(rules, privacy)
        model, event, exponent = rules.model, event_of(rules), privacy.delta_exponent
        ledger = self.ledger.after(
            Charge(
                model,
                *place,
                event.multiplier_micro,
                event.sampling_micro,
                privacy.steps,
                charged_unit(privacy),
            )
        )
        charge = PrivacyCharge(
            unit=privacy.unit,
            adjacency=adjacency(privacy),
            delta_exponent=exponent,
            before_thousandths=self.ledger.epsilon_thousandths(model, exponent),
            after_thousandths=ledger.epsilon_thousandths(model, exponent),
            releases=ledger.charged(model),
        )
        return replace(self, ledger=ledger), charge

    def refuse_other_units(self, policy: Policy) -> None:
        """PolicyRefusal(UNSOUND_POLICY) where a model that was charged has no budget any more, or one for another unit:
        also where a policy between did not list it."""
        units = {charge.model: charge.unit for charge in self.ledger.charges}
        for rules in policy.models:
            before, now = units.get(rules.model), rules.privacy and charged_unit(rules.privacy)
            if before not in (None, now):
                text = f"{rules.model} was charged per {before} and cannot be per {now or 'nothing'}"
                raise PolicyRefusal(Refusal.UNSOUND_POLICY, text)

    def _refuse_over_budget(self, rules: ModelRules, privacy: PrivacyRules) -> None:
        # Nodes count releases and know no epsilon: what they would refuse is not offered.
        if self.ledger.charged(rules.model) >= privacy.releases:
            text = f"{rules.model}: all {privacy.releases} releases are charged"
            raise PolicyRefusal(Refusal.BUDGET_EXHAUSTED, text)
        budget, exponent = privacy.epsilon_thousandths, privacy.delta_exponent
        self.ledger.refuse_over_budget(rules.model, event_of(rules), privacy.steps, budget, exponent)

    def shown(self, rules: ModelRules) -> "Accounts":
        """The accounts once sketches of a round's updates are asked for."""
        seen = self.sketched.get(rules.model, 0) + exposure_micro(rules)
        return replace(self, sketched={**self.sketched, rules.model: seen})

    def memory(self, model: str) -> Memory:
        """What the model's strategy remembers; nothing at first."""
        return self.memories.get(model, Memory())

    def suspecting(self, model: str, nodes: frozenset[int]) -> "Accounts":
        """The accounts after a sketched round flagged `nodes`."""
        return replace(self, suspected={**self.suspected, model: nodes})

    def remembering(self, model: str, memory: Memory) -> "Accounts":
        """The accounts with what the model's strategy carries into the next round."""
        if memory == self.memory(model):
            return self
        return replace(self, memories={**self.memories, model: memory})


def refuse_broken_promises(policy: Policy) -> None:
    """PolicyRefusal(UNSOUND_POLICY) where the releases that a policy promises cost more than its budget (U21).

    Only who has an accountant can tell, so linting does it when the policy is written and the enclave at every start.
    """
    for rules in policy.models:
        if rules.privacy is not None:
            privacy, event = rules.privacy, event_of(rules)
            spent = epsilon_thousandths({event: privacy.releases * privacy.steps}, privacy.delta_exponent)
            if spent > privacy.epsilon_thousandths:
                text = f"{rules.model}: {privacy.releases} releases cost epsilon {spent / 1000}"
                raise PolicyRefusal(
                    Refusal.UNSOUND_POLICY, f"{text}, over {privacy.epsilon_thousandths / 1000}"
                )


def event_of(rules: ModelRules) -> Event:
    """What one release of a private model is, or one of its steps, for the accountant."""
    sampling = rules.privacy.sampling_micro if rules.privacy else 0
    return Event(multiplier_micro(rules), sampling)
