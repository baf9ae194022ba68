"""Settings of the training plan, its columns and times aside."""

from crimson_governance.changes.knob import Knob, or_none, yes_or_no
from crimson_governance.figures import micro_in_words
from crimson_governance.vocabulary import counted, listed

PLAN: tuple[Knob, ...] = (
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
    Knob(
        "batch",
        lambda _, p: p.batch,
        lambda value: counted(value, "row") if value else "all rows",
        "each pass over the rows takes fewer and steadier steps, or passes take the place of steps",
        "each pass over the rows takes more and rougher steps, or steps over all rows take the place of passes",
    ),
    Knob(
        "proximal weight",
        lambda _, p: p.proximal_micro,
        micro_in_words,
        "sites stay closer to the last model in a round",
        "sites move further from the last model in a round",
    ),
    Knob(
        "momentum of local steps",
        lambda _, p: p.momentum_micro,
        micro_in_words,
        "sites move further in a round",
        "sites move less in a round",
    ),
    Knob(
        "hidden layers",
        lambda _, p: listed([str(width) for width in p.hidden], "none"),
        str,
        "",
        "the model is another one: it needs a new name",
    ),
    Knob(
        "losses",
        lambda _, p: p.losses,
        yes_or_no,
        "updates carry the model's loss at each site, and its sum is released exactly",
        "updates carry no loss: nobody hears how well the model fits",
    ),
    Knob("weights", lambda _, p: p.weights, str, "", "sites count by another measure"),
    Knob(
        "scaled by",
        lambda _, p: p.scale_model,
        or_none(str),
        "",
        "features are standardised by another model's moments",
        "features are standardised from now on",
        "features are no longer standardised",
    ),
)
