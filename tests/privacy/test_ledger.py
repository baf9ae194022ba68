"""The ledger: every attempt once, every model for itself, unlike events together, no release over the budget."""

import pytest

from crimson_enclave.privacy import accountant, ledger
from crimson_enclave.privacy.accountant import MICRO, UNBOUNDED, Event
from crimson_enclave.privacy.ledger import Ledger
from crimson_enclave.sealed.record import MAX_CHARGES, Charge
from crimson_protocol.errors import CallerFault, PolicyRefusal
from crimson_protocol.refusal import Refusal

MODEL, OTHER = "survival", "demand"
FULL, SAMPLED = Event(5 * MICRO, MICRO), Event(2 * MICRO, MICRO // 10)


def charge(round_: int, event: Event = FULL, model: str = MODEL, attempt: int = 1, steps: int = 1) -> Charge:
    return Charge(model, round_, attempt, event.multiplier_micro, event.sampling_micro, steps, "record")


def spent(count: int, event: Event = FULL) -> Ledger:
    return Ledger(tuple(charge(place, event) for place in range(1, count + 1)))


def test_an_empty_ledger_has_cost_nothing():
    assert (Ledger().charged(MODEL), Ledger().epsilon_thousandths(MODEL, 5)) == (0, 0)


def test_fifty_charges_cost_the_closed_form():
    """mu = sqrt(50) / 5 at delta 1e-5: epsilon 6.5730, rounded up."""
    assert spent(50).epsilon_thousandths(MODEL, 5) == 6573
    assert spent(50).charged(MODEL) == 50


def test_a_charge_is_added_and_the_old_ledger_stays():
    before = spent(2)
    after = before.after(charge(3))
    assert (before.charged(MODEL), after.charged(MODEL)) == (2, 3)
    assert after.charges == (*before.charges, charge(3))
    assert before == spent(2) != after


def test_an_attempt_is_charged_once_and_a_lost_one_stays_charged():
    after = Ledger().after(charge(1)).after(charge(1, attempt=2)).after(charge(1, model=OTHER))
    assert (after.charged(MODEL), after.charged(OTHER)) == (2, 1)
    for again in (charge(1), charge(1, SAMPLED), charge(1, attempt=2), charge(1, model=OTHER)):
        with pytest.raises(CallerFault) as caught:
            after.after(again)
        assert caught.value.code is Refusal.REPLAYED


def test_a_ledger_with_a_charge_twice_is_none():
    with pytest.raises(CallerFault):
        Ledger((charge(1), charge(2), charge(1, SAMPLED)))


def test_every_local_step_of_a_release_is_paid_for():
    stepped = Ledger((charge(1, steps=20), charge(2, steps=30)))
    assert (stepped.charged(MODEL), stepped.epsilon_thousandths(MODEL, 5)) == (2, 6573)
    stepped.refuse_over_budget(MODEL, FULL, 1, 7000, 5)
    with pytest.raises(PolicyRefusal, match="2 releases are charged"):
        stepped.refuse_over_budget(MODEL, FULL, 10, 7000, 5)


def test_models_do_not_pay_for_each_other():
    mixed = spent(50).after(charge(1, SAMPLED, OTHER))
    assert mixed.epsilon_thousandths(MODEL, 5) == 6573
    assert mixed.epsilon_thousandths(OTHER, 5) == Ledger((charge(9, SAMPLED, OTHER),)).epsilon_thousandths(
        OTHER, 5
    )
    assert mixed.epsilon_thousandths("unknown", 5) == 0


def test_unlike_charges_compose_together():
    """In any order, for less than the sum of what each would cost, for more than either."""
    mixed = spent(20)
    for place in range(21, 121):
        mixed = mixed.after(charge(place, SAMPLED))
    cost = mixed.epsilon_thousandths(MODEL, 5)
    full, sampled = (
        spent(count, event).epsilon_thousandths(MODEL, 5) for count, event in ((20, FULL), (100, SAMPLED))
    )
    assert max(full, sampled) < cost < full + sampled
    assert Ledger(mixed.charges[::-1]).epsilon_thousandths(MODEL, 5) == cost
    assert cost == accountant.epsilon_thousandths({FULL: 20, SAMPLED: 100}, 5)


def test_a_smaller_delta_costs_more():
    costs = [spent(10).epsilon_thousandths(MODEL, exponent) for exponent in (2, 5, 8, 12)]
    assert costs == sorted(set(costs))


def test_the_budget_is_spent_to_its_end_and_not_beyond():
    """Epsilon 6.573 is what 50 releases cost: the 50th fits, and the 51st does not."""
    spent(49).refuse_over_budget(MODEL, FULL, 1, 6573, 5)
    for held, budget in ((spent(49), 6572), (spent(50), 6573)):
        with pytest.raises(PolicyRefusal) as caught:
            held.refuse_over_budget(MODEL, FULL, 1, budget, 5)
        assert caught.value.code is Refusal.BUDGET_EXHAUSTED
        assert MODEL in str(caught.value)
    spent(50).refuse_over_budget(OTHER, FULL, 1, 6573, 5)


def test_a_budget_of_one_kind_is_spent_by_the_other():
    with pytest.raises(PolicyRefusal):
        spent(50).refuse_over_budget(MODEL, SAMPLED, 1, 6573, 5)


def test_what_hides_nothing_is_never_affordable():
    """Even with the largest budget that a policy can name."""
    bare = Event(0, MICRO)
    with pytest.raises(PolicyRefusal):
        Ledger().refuse_over_budget(MODEL, bare, 1, 100_000, 5)
    assert Ledger((charge(1, bare),)).epsilon_thousandths(MODEL, 5) == UNBOUNDED


def test_a_full_ledger_takes_no_more(monkeypatch):
    monkeypatch.setattr(ledger, "MAX_CHARGES", 3)
    spent(2).refuse_over_budget(MODEL, FULL, 1, 100_000, 5)
    with pytest.raises(PolicyRefusal) as caught:
        spent(3).refuse_over_budget(MODEL, FULL, 1, 100_000, 5)
    assert caught.value.code is Refusal.BUDGET_EXHAUSTED
    assert MAX_CHARGES > 1000
