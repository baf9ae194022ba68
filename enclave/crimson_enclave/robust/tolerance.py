"""How many bad values each rule tolerates, and the refusal to go beyond it."""

from crimson_protocol.errors import CallerFault
from crimson_protocol.policy.document import ROBUST_RULES
from crimson_protocol.refusal import Refusal

_KRUM = ("krum", "multi-krum")


def most_tolerated(rule: str, values: int) -> int:
    """The largest number f of bad values, among `values`, under which `rule` still holds; negative where none does.

    rule: a name of ROBUST_RULES. Krum and Multi-Krum need 2f + 3 <= M (Blanchard et al. 2017). No rule can hold
    at f >= M / 2: bad values are then as many as good ones. Mixing before a rule changes nothing here. "none" is the
    plain mean and tolerates nobody.
    """
    if rule not in ROBUST_RULES:
        raise CallerFault(Refusal.UNSUPPORTED, f"there is no robust rule {rule!r}")
    if rule == "none":
        return 0 if values else -1
    return (values - (3 if rule in _KRUM else 1)) // 2


def refuse_beyond(rule: str, values: int, tolerance: int) -> None:
    """CallerFault(COHORT_TOO_SMALL) where `values` are too few for `rule` to tolerate `tolerance` bad ones.

    Buckets may be lost after the policy was checked, so it is asked again when a round is opened.
    """
    if tolerance < 0:
        raise CallerFault(Refusal.OUT_OF_RANGE, "a tolerance is not negative")
    if tolerance > most_tolerated(rule, values):
        raise CallerFault(
            Refusal.COHORT_TOO_SMALL, f"{rule} over {values} values cannot tolerate {tolerance} bad ones"
        )
