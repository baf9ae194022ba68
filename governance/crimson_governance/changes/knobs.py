"""Every setting of a model that a diff compares."""

from crimson_governance.changes.aggregation_knobs import AGGREGATION
from crimson_governance.changes.knob import Knob
from crimson_governance.changes.plan_knobs import PLAN
from crimson_governance.changes.privacy_knobs import PRIVACY

KNOBS: tuple[Knob, ...] = (*AGGREGATION, *PRIVACY, *PLAN)
