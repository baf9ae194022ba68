"""One model's strategy, filters, sketches and budget in sentences."""

from crimson_governance.budgets import BudgetFigures, costs_in_words, epsilon_in_words
from crimson_governance.figures import RobustFigures, SketchFigures, micro_in_words
from crimson_governance.vocabulary import ROBUST_RULES, STRATEGIES, counted, listed
from crimson_protocol.exposure import EXPOSURE_LIMIT_MICRO, EXPOSURE_WARNING_MICRO
from crimson_protocol.policy.document import MICRO, ModelRules, ServerRules

NOISE_ENTERS = {
    "release": "once, to what is released",
    "buckets": "to each bucket's sum",
    "nodes": "by every site in every local step",
}


def strategy_words(rules: ModelRules) -> list[str]:
    """What becomes of the updates, and what an operator may choose instead."""
    sentences = [f"The enclave {STRATEGIES[rules.strategy]}."]
    if rules.alternatives:
        others = "; ".join(f"{name}: it {STRATEGIES[name]}" for name in rules.alternatives)
        sentences.append(f"An operator may choose for a round instead: {others}.")
    if rules.numbers.steps_cap:
        sentences.append(f"A node may claim at most {rules.numbers.steps_cap} steps.")
    if (set_ := _server(rules.server)) and rules.strategy != "sum":
        sentences.append(f"At the server: {listed(set_)}.")
    return sentences


def _server(server: ServerRules) -> list[str]:
    """The settings that are not those of a plain mean."""
    usual = ServerRules()
    named = (
        ("learning rate", server.rate_micro, usual.rate_micro),
        ("momentum", server.momentum_micro, usual.momentum_micro),
        ("second moment decay", server.second_micro, usual.second_micro),
        ("adaptivity", server.adaptivity_micro, usual.adaptivity_micro),
        ("weight decay", server.decay_micro, usual.decay_micro),
    )
    return [f"{name} {micro_in_words(value)}" for name, value, before in named if value != before]


def robust_words(rules: ModelRules, figures: RobustFigures | None) -> list[str]:
    """How bad updates are kept out, and how many may be bad."""
    sentences = [f"{ROBUST_RULES[rules.robust_rule]}."]
    if rules.mixing:
        sentences.append("Before that each value is replaced by the mean of its nearest neighbours.")
    if rules.enclave_clip:
        sentences.append("Bucket means longer than the clip are shortened to it by the enclave.")
    if figures is not None:
        sentences.append(
            f"It compares {figures.values} {figures.what}, and bears {figures.tolerance} bad ones; at most "
            f"{figures.most} could be borne, and a policy that asks for more is refused."
        )
    if rules.robust_rule == "sketch-filter":
        sentences.append("The verdict names who is left out, and their updates are in no sum of that round.")
    return sentences


def sketch_words(rules: ModelRules, figures: SketchFigures | None) -> list[str]:
    """What sketches show, and for how long they may."""
    if rules.sketch is None or figures is None:
        return []
    often = "every round" if figures.every == 1 else f"every {figures.every} rounds"
    warned, limit = EXPOSURE_WARNING_MICRO / MICRO, EXPOSURE_LIMIT_MICRO / MICRO
    return [
        f"The enclave sees a sketch of each update in {rules.sketch.buckets} numbers, {often}: "
        f"{figures.share_micro / MICRO:.4f} of an update each time.",
        f"That adds up and never goes back: {warned:.2f} is reached in round {figures.warned_round}, and after round "
        f"{figures.last_round} a sketch would show more than {limit:.2f}, and is refused.",
        "Nodes that the filter flags are left out of the round, honest ones among them now and then.",
    ]


def budget_words(rules: ModelRules, figures: BudgetFigures | None) -> list[str]:
    """What is protected, how well, for how long, and at what price."""
    if rules.privacy is None or figures is None:
        return ["There is no differential privacy: a release is exact."]
    budget = epsilon_in_words(figures.epsilon_thousandths)
    sentences = [
        f"Differential privacy {figures.guarantee}: a budget of epsilon {budget} over all releases.",
        f"Epsilon: {costs_in_words(figures)}; {figures.guarantee}.",
        f"The policy promises {counted(figures.releases, 'release')}; this noise affords {figures.afforded}. A round "
        "that is lost after it was charged counts too.",
    ]
    if rules.privacy.unit == "record":
        share = micro_in_words(figures.sampling_micro)
        clip = micro_in_words(rules.privacy.record_clip_micro)
        when, sum_ = ("local step", "a site's sum") if rules.privacy.at_nodes else ("round", "the sum")
        sentences.append(
            f"Each record takes part in a {when} with probability {share}, secretly; its share is at most {clip} long, "
            f"and {sum_} is divided by {rules.privacy.divisor}, a public number, in place of a mean. A patient with "
            "several rows is protected less, row by row."
        )
    sentences.append(
        f"Noise is added {NOISE_ENTERS[rules.privacy.noise]}, {micro_in_words(figures.multiplier_micro)} times what "
        f"one {figures.unit} can do. "
        f"On the mean it is about {figures.noise_to_signal:.3g} times as long as the most that an update can be."
    )
    if rules.privacy.at_nodes:
        sentences.append(
            f"A release takes {counted(rules.privacy.steps, 'local step')}, and each of them is charged. Records are "
            "protected from the enclave too, and any rule over updates may follow."
        )
    return sentences
