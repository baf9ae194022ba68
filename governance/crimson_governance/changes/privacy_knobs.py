"""Settings of privacy: noise, budget, and what sketches show."""

from crimson_governance.changes.knob import Knob, or_none
from crimson_governance.figures import decimal_in_words, micro_in_words

_epsilon = or_none(lambda value: decimal_in_words(value, 3))
_micro = or_none(micro_in_words)
_number = or_none(str)
PLACES = ("release", "buckets", "nodes")
IN_WORDS = {"release": "once, on the result", "buckets": "on every bucket's sum", "nodes": "at each node"}

PRIVACY: tuple[Knob, ...] = (
    Knob(
        "noise",
        lambda r, _: r.numbers.noise_micro or None,
        _micro,
        "the released model is noisier and tells less of any one contribution",
        "the released model is less noisy and tells more of any one contribution",
        "the enclave adds noise from now on",
        "the enclave adds none any more",
    ),
    Knob(
        "sketch buckets",
        lambda r, _: r.sketch.buckets if r.sketch else None,
        _number,
        "the enclave sees more of each update",
        "the enclave sees less of each update",
        "the enclave sees a sketch of each update from now on",
        "the enclave sees no sketches any more",
    ),
    Knob(
        "sketch every so many rounds",
        lambda r, _: r.sketch.every if r.sketch else None,
        _number,
        "updates are filtered more rarely; what sketches show adds up more slowly",
        "updates are filtered more often; what sketches show adds up faster",
        "how often the enclave sees one",
        "there are none any more",
    ),
    Knob(
        "privacy unit",
        lambda r, _: r.privacy.unit if r.privacy else None,
        _number,
        "",
        "the budget protects something else",
        "a budget protects each of these from now on",
        "no budget protects anybody any more",
    ),
    Knob(
        "privacy budget epsilon",
        lambda r, _: r.privacy.epsilon_thousandths if r.privacy else None,
        _epsilon,
        "more may be learnt about each before the budget is spent",
        "less may be learnt about each before the budget is spent",
        "the budget that is charged from now on",
        "nothing is charged any more",
    ),
    Knob(
        "privacy delta",
        lambda r, _: r.privacy.delta_exponent if r.privacy else None,
        or_none(lambda value: f"10^-{value}"),
        "the guarantee fails less often",
        "the guarantee fails more often",
        "how often the guarantee may fail",
        "there is no guarantee any more",
    ),
    Knob(
        "privacy charge",
        lambda r, _: r.privacy.charge if r.privacy else None,
        _number,
        "",
        "the budget is charged in another way",
        "what the budget is charged for",
        "nothing is charged any more",
    ),
    Knob(
        "releases",
        lambda r, _: r.privacy.releases if r.privacy else None,
        _number,
        "more rounds before the budget is spent",
        "fewer rounds before the budget is spent",
        "so many rounds, and then the budget is spent",
        "nothing ends the rounds any more",
    ),
    Knob(
        "sampling",
        lambda r, _: r.privacy.sampling_micro if r.privacy else None,
        _micro,
        "each record takes part more often: a round takes more of its budget",
        "each record takes part more rarely: a round takes less of its budget",
        "how likely each record takes part in a round",
        "every record takes part in every round",
    ),
    Knob(
        "clip of a record",
        lambda r, _: r.privacy.record_clip_micro if r.privacy else None,
        _micro,
        "one record may count for more, and needs more noise",
        "one record may count for less, and needs less noise",
        "the most that one record may count for",
        "no record's share is bounded any more",
    ),
    Knob(
        "divisor",
        lambda r, _: r.privacy.divisor if r.privacy else None,
        _number,
        "a round moves the model less",
        "a round moves the model further",
        "the public number that sums over records are divided by",
        "sums are divided by the weights",
    ),
    Knob(
        "where noise enters",
        lambda r, _: PLACES.index(r.privacy.noise) if r.privacy else None,
        or_none(lambda place: IN_WORDS[PLACES[place]]),
        "fewer see anything without noise, and there is more of it in all",
        "there is less noise in all, and who stands before it sees without it",
        "where the noise enters",
        "no noise enters",
    ),
    Knob(
        "noise of a local step",
        lambda r, _: r.privacy.step_multiplier_micro if r.privacy and r.privacy.at_nodes else None,
        _micro,
        "what a site sends is noisier and tells less of any one record",
        "what a site sends is less noisy and tells more of any one record",
        "in record clips; each site adds its own from now on",
        "sites add no noise of their own any more",
    ),
    Knob(
        "local steps of a release",
        lambda r, _: r.privacy.steps if r.privacy and r.privacy.at_nodes else None,
        _number,
        "a release costs more of the budget",
        "a release costs less of the budget",
        "each of them is charged",
        "a release is charged once",
    ),
)
