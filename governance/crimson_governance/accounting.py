"""What privacy costs and what a budget affords, by the accountant that the enclave charges with (ADR 0021)."""

from dataclasses import replace

from crimson_enclave.privacy.accountant import (
    MAX_MULTIPLIER_MICRO,
    Event,
    epsilon_thousandths,
    multiplier_for,
    releases_afforded,
)
from crimson_protocol.errors import CallerFault
from crimson_protocol.policy.combinations import MAX_DELTA_EXPONENT, MAX_EPSILON, MIN_DELTA_EXPONENT
from crimson_protocol.policy.document import MICRO, ModelRules
from crimson_protocol.policy.privacy import multiplier_micro, with_noise
from crimson_protocol.policy.privacy_rules import LEAST_STEP_MULTIPLIER, MAX_STEP_MULTIPLIER, PrivacyRules
from crimson_protocol.refusal import Refusal


def with_least_noise(rules: ModelRules) -> ModelRules:
    """The rules with the least noise, or up to a thousandth more, that keeps their promised releases within the budget.

    Nodes add no less than half a record clip in a step. Unchanged where no noise can be computed because a setting is
    unsound. Takes seconds where records are sampled. Raises CallerFault where no noise is enough, or none that nodes
    can draw.
    """
    privacy = rules.privacy
    if privacy is None or not privacy.releases or not _computable(rules):
        return rules
    budget, delta = privacy.epsilon_thousandths, 10.0**-privacy.delta_exponent
    multiplier = multiplier_for(budget, delta, privacy.sampling_micro, privacy.releases * privacy.steps)
    if not privacy.at_nodes:
        return with_noise(rules, multiplier)
    if multiplier > MAX_STEP_MULTIPLIER:
        steps = privacy.releases * privacy.steps
        text = (
            f"{steps} local steps need more noise in each than a node can draw: fewer steps, or more epsilon"
        )
        raise CallerFault(Refusal.OUT_OF_RANGE, text)
    return with_noise(rules, max(multiplier, LEAST_STEP_MULTIPLIER))


def with_releases(rules: ModelRules) -> ModelRules:
    """The rules with as many releases as their noise affords; unchanged where that could not be computed."""
    if rules.privacy is None or event_of(rules) is None:
        return rules
    return replace(rules, privacy=replace(rules.privacy, releases=afforded(rules)))


def event_of(rules: ModelRules) -> Event | None:
    """What one release is charged as, or each of its steps; None for a model without a budget, or with settings that
    protect nobody."""
    privacy = rules.privacy
    if privacy is None or not _computable(rules):
        return None
    if not (privacy.step_multiplier_micro if privacy.at_nodes else rules.numbers.noise_micro):
        return None
    return Event(min(multiplier_micro(rules), MAX_MULTIPLIER_MICRO), privacy.sampling_micro)


def cost(rules: ModelRules, releases: int) -> int:
    """Epsilon of so many releases at the budget's delta, in thousandths, rounded up; 0 where nothing is charged."""
    event = event_of(rules)
    if event is None or rules.privacy is None:
        return 0
    return epsilon_thousandths({event: releases * rules.privacy.steps}, rules.privacy.delta_exponent)


def afforded(rules: ModelRules) -> int:
    """The most releases that the budget affords at this noise; 0 where nothing is charged."""
    event, privacy = event_of(rules), rules.privacy
    if event is None or privacy is None:
        return 0
    steps = releases_afforded(event, privacy.epsilon_thousandths, 10.0**-privacy.delta_exponent)
    return steps // privacy.steps


def overspent(rules: ModelRules) -> str | None:
    """U21: why the promised releases cannot be made, or None. It takes an accountant, so the protocol's rules do not
    tell: governors never sign such a promise, and an enclave does not start under one.
    """
    privacy = rules.privacy
    if privacy is None or event_of(rules) is None:
        return None
    spent = cost(rules, privacy.releases)
    if spent <= privacy.epsilon_thousandths:
        return None
    return (
        f"{privacy.releases} releases cost epsilon {spent / 1000:.3f}, above the budget of "
        f"{privacy.epsilon_thousandths / 1000:.3f}: this noise affords {afforded(rules)}"
    )


def _computable(rules: ModelRules) -> bool:
    """Whether the settings that an accountant needs are within their bounds; U1, U4 and U18 tell where not."""
    privacy, numbers = rules.privacy, rules.numbers
    return (
        privacy is not None
        and 0 < privacy.epsilon_thousandths <= MAX_EPSILON
        and MIN_DELTA_EXPONENT <= privacy.delta_exponent <= MAX_DELTA_EXPONENT
        and 0 < privacy.sampling_micro <= MICRO
        and numbers.clip_micro > 0
        and privacy.steps > 0
        and not _without_record_clip(privacy)
    )


def _without_record_clip(privacy: PrivacyRules) -> bool:
    return privacy.unit == "record" and not privacy.record_clip_micro
