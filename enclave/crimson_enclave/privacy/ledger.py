"""What was spent on every model: charges, never epsilons. Pure; whoever holds a ledger makes it durable.

A charge stands from before anything is opened, whatever becomes of its round. Epsilon is computed from the charges
each time, for the delta that the policy now names, so unlike events compose tightly and none is rounded twice.
"""

from collections import Counter
from dataclasses import dataclass, field

from crimson_enclave.privacy import accountant
from crimson_enclave.privacy.accountant import Event
from crimson_enclave.sealed.record import MAX_CHARGES, Charge
from crimson_protocol.errors import CallerFault, PolicyRefusal
from crimson_protocol.refusal import Refusal

__all__ = ["Event", "Ledger"]


@dataclass(frozen=True)
class Ledger:
    """All charges in the order in which they were made; at most one for a model's round and attempt."""

    charges: tuple[Charge, ...] = ()
    _made: frozenset[tuple[str, int, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        made = frozenset(map(_place, self.charges))
        if len(made) < len(self.charges):
            raise CallerFault(Refusal.REPLAYED, "a ledger charges one attempt twice")
        object.__setattr__(self, "_made", made)

    def charged(self, model: str) -> int:
        """How often the model was charged: its releases, and what was lost after its charge."""
        return sum(charge.model == model for charge in self.charges)

    def after(self, charge: Charge) -> "Ledger":
        """The ledger with one more charge. Raises CallerFault REPLAYED where the attempt was charged already."""
        if _place(charge) in self._made:
            raise CallerFault(Refusal.REPLAYED, f"{charge.model}: round {charge.round} was charged already")
        return Ledger((*self.charges, charge))

    def epsilon_thousandths(self, model: str, delta_exponent: int) -> int:
        """What the model has cost so far at delta = 10^-delta_exponent, rounded up."""
        return accountant.epsilon_thousandths(self._events(model), delta_exponent)

    def refuse_over_budget(
        self, model: str, event: Event, steps: int, epsilon_thousandths: int, delta_exponent: int
    ) -> None:
        """PolicyRefusal(BUDGET_EXHAUSTED) where `steps` more of `event` exceed the budget, or a ledger's room."""
        if len(self.charges) >= MAX_CHARGES:
            raise _exhausted(model, f"the ledger holds {MAX_CHARGES} charges and takes no more")
        events = self._events(model)
        cost = accountant.epsilon_thousandths(events + Counter({event: steps}), delta_exponent)
        if cost > epsilon_thousandths:
            spent = f"epsilon would be {cost / 1000:.3f} of {epsilon_thousandths / 1000:.3f}"
            charged = f"{self.charged(model)} releases are charged"
            raise _exhausted(model, f"{spent} at delta 1e-{delta_exponent}, {charged}")

    def _events(self, model: str) -> Counter[Event]:
        events: Counter[Event] = Counter()
        for charge in self.charges:
            if charge.model == model:
                events[Event(charge.multiplier_micro, charge.sampling_micro)] += charge.steps
        return events


def _place(charge: Charge) -> tuple[str, int, int]:
    return charge.model, charge.round, charge.attempt


def _exhausted(model: str, text: str) -> PolicyRefusal:
    return PolicyRefusal(Refusal.BUDGET_EXHAUSTED, f"{model}: {text}")
