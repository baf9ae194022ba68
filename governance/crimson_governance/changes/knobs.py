"""Every setting of a model: how it is read and shown, and what follows from its change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crimson_governance.changes.entry import Change
from crimson_governance.figures import decimal_in_words, micro_in_words, share_in_words
from crimson_governance.vocabulary import counted
from crimson_protocol.policy.document import ModelRules
from crimson_protocol.policy.plan import TrainingPlan


@dataclass(frozen=True)
class Knob:
    """One setting: how it is read and shown, and what follows where it grows, where it shrinks or is merely
    another, where it was none before, and where it is none now."""

    name: str
    read: Callable[[ModelRules, TrainingPlan], Any]
    show: Callable[[Any], str]
    more: str
    less: str
    begins: str = ""
    ends: str = ""

    def change(
        self, old: tuple[ModelRules, TrainingPlan], new: tuple[ModelRules, TrainingPlan]
    ) -> Change | None:
        """The change between two versions; None where there is none."""
        before, after = self.read(*old), self.read(*new)
        if before == after:
            return None
        return Change("~", self.name, self.show(before), self.show(after), self._consequence(before, after))

    def _consequence(self, before: Any, after: Any) -> str:
        if before is None:
            return self.begins or self.more
        if after is None:
            return self.ends or self.less
        return self.more if _grew(before, after) else self.less


def _grew(before: Any, after: Any) -> bool:
    if isinstance(before, tuple) and isinstance(after, tuple):
        # Shares: compared as ratios.
        return bool(after[0] * before[1] > before[0] * after[1])
    return isinstance(before, int) and isinstance(after, int) and after > before


def _or_none(show: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "none" if value is None else show(value)


_bits = "{} bits".format
_privacy = _or_none(lambda value: decimal_in_words(value, 3))

KNOBS: tuple[Knob, ...] = (
    Knob("strategy", lambda r, _: r.strategy, str, "", "the released model is computed in another way"),
    Knob("loss", lambda r, _: r.loss, str, "", "the sites minimise something else"),
    Knob("robust rule", lambda r, _: r.robust_rule, str, "", "bad updates are looked for in another way"),
    Knob(
        "robust tolerance",
        lambda r, _: r.robust_tolerance,
        str,
        "more bad nodes are to be borne; more good values are left out",
        "fewer bad nodes are borne",
    ),
    Knob(
        "clip in the enclave",
        lambda r, _: r.enclave_clip,
        lambda value: "yes" if value else "no",
        "the enclave shortens long updates itself",
        "each node alone sees to it that its update is short enough",
    ),
    Knob(
        "clip",
        lambda r, _: r.numbers.clip_micro,
        micro_in_words,
        "one site's update may be longer: it can move the model further, and a bad one does more harm",
        "longer updates are shortened to this: a bad one does less harm, and learning may slow down",
    ),
    Knob(
        "weight cap",
        lambda r, _: r.numbers.weight_cap,
        str,
        "a large site may count for more",
        "a large site counts for less",
    ),
    Knob(
        "least cohort",
        lambda r, _: r.numbers.min_cohort,
        str,
        "each site hides among more others; fewer may drop out of a round",
        "a sum may be opened over fewer sites: each hides among fewer others",
    ),
    Knob(
        "corrupt share",
        lambda r, _: r.numbers.corrupt,
        share_in_words,
        "more colluding nodes are allowed for; fewer may drop out of a round",
        "fewer colluding nodes are allowed for; more may drop out of a round",
    ),
    Knob(
        "dropout share",
        lambda r, _: r.numbers.dropout,
        share_in_words,
        "rounds above 128 nodes survive more dropouts and send more",
        "rounds above 128 nodes survive fewer dropouts and send less",
    ),
    Knob(
        "bucket size",
        lambda r, _: r.numbers.bucket_size,
        lambda value: "the whole cohort" if value is None else counted(value, "node"),
        "the enclave sees other sums than before: smaller buckets show more of each site",
        "the enclave sees other sums than before: smaller buckets show more of each site",
    ),
    Knob(
        "value bits",
        lambda r, _: r.numbers.value_bits,
        _bits,
        "updates are rounded less",
        "updates are rounded more",
    ),
    Knob(
        "ring bits",
        lambda r, _: r.numbers.ring_bits,
        _bits,
        "nodes send more bytes",
        "nodes send fewer bytes",
    ),
    Knob(
        "slices",
        lambda r, _: r.numbers.slices,
        str,
        "the vector is cut into more parts",
        "the vector is cut into fewer parts",
    ),
    Knob(
        "noise",
        lambda r, _: r.numbers.noise_micro,
        micro_in_words,
        "the released model is noisier and tells less of any one contribution",
        "the released model is less noisy and tells more of any one contribution",
    ),
    Knob(
        "sketch buckets",
        lambda r, _: r.sketch.buckets if r.sketch else None,
        _or_none(str),
        "the enclave sees more of each update",
        "the enclave sees less of each update",
        "the enclave sees a sketch of each update from now on",
        "the enclave sees no sketches any more",
    ),
    Knob(
        "privacy unit",
        lambda r, _: r.privacy.unit if r.privacy else None,
        _or_none(str),
        "",
        "the budget protects something else",
        "a budget protects each of these from now on",
        "no budget protects anybody any more",
    ),
    Knob(
        "privacy budget epsilon",
        lambda r, _: r.privacy.epsilon_thousandths if r.privacy else None,
        _privacy,
        "more may be learnt about each before the budget is spent",
        "less may be learnt about each before the budget is spent",
        "the budget that is charged from now on",
        "nothing is charged any more",
    ),
    Knob(
        "privacy delta",
        lambda r, _: r.privacy.delta_exponent if r.privacy else None,
        _or_none(lambda value: f"10^-{value}"),
        "the guarantee fails less often",
        "the guarantee fails more often",
        "how often the guarantee may fail",
        "there is no guarantee any more",
    ),
    Knob(
        "privacy charge",
        lambda r, _: r.privacy.charge if r.privacy else None,
        _or_none(str),
        "",
        "the budget is charged in another way",
        "what the budget is charged for",
        "nothing is charged any more",
    ),
    Knob(
        "base",
        lambda r, _: r.base,
        _or_none(str),
        "rounds start from another model",
        "rounds start from another model",
    ),
    Knob(
        "first artifact",
        lambda r, _: r.initial_digest.hex()[:16],
        str,
        "",
        "refused: a model keeps what it started from; give the new model a new name",
    ),
    Knob("task", lambda _, p: p.task, str, "", "the nodes compute something else"),
    Knob("time column", lambda _, p: p.time_column, str, "", "the nodes read another column"),
    Knob("event column", lambda _, p: p.event_column, str, "", "the nodes read another column"),
    Knob(
        "steps",
        lambda _, p: p.steps,
        str,
        "sites move further from each other in a round",
        "a round moves the model less",
    ),
    Knob(
        "learning rate",
        lambda _, p: p.learning_rate_micro,
        micro_in_words,
        "steps are longer",
        "steps are shorter",
    ),
    Knob(
        "l2",
        lambda _, p: p.l2_micro,
        micro_in_words,
        "coefficients are held closer to 0",
        "coefficients are freer",
    ),
    Knob("weights", lambda _, p: p.weights, str, "", "sites count by another measure"),
    Knob(
        "scaled by",
        lambda _, p: p.scale_model,
        _or_none(str),
        "",
        "features are standardised by another model's moments",
        "features are standardised from now on",
        "features are no longer standardised",
    ),
)
