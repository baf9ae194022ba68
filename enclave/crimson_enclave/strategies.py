"""From checked totals to the released artifact: the one function that every strategy goes through."""

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.totals import Totals
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.policy.document import ModelRules
from crimson_protocol.refusal import Refusal

MICRO = 1_000_000
AVAILABLE = ("sum", "fedavg")


def refuse_unavailable(rules: ModelRules) -> None:
    """PolicyRefusal(UNSUPPORTED) for a policy that asks for what this enclave does not do, before any round.

    A setting that is sound but not implemented must never be silently left out.
    """
    wanted = {
        f"strategy {rules.strategy}": rules.strategy not in AVAILABLE,
        f"robust rule {rules.robust_rule}": rules.robust_rule != "none",
        "differential privacy": rules.privacy is not None or rules.numbers.noise_micro > 0,
        "sketches": rules.sketch is not None,
        "an enclave-side clip": bool(rules.enclave_clip),
    }
    missing = [name for name, asked in wanted.items() if asked]
    if missing:
        raise PolicyRefusal(
            Refusal.UNSUPPORTED, f"{rules.model}: this enclave does not implement " + ", ".join(missing)
        )


def aggregate(rules: ModelRules, base: bytes, totals: Totals) -> Artifact:
    """The artifact that `rules.strategy` makes of the base artifact and the checked totals."""
    match rules.strategy:
        case "sum":
            return Artifact.of(np.empty(0, np.float32), totals.counters())
        case "fedavg":
            parameters = Artifact.from_bytes(base, MAX_ARTIFACT).vector()
            return Artifact.of(_add_mean(rules, parameters, totals), totals.counters())
        case other:
            raise PolicyRefusal(Refusal.UNSUPPORTED, f"strategy {other} is not implemented")


def _add_mean(rules: ModelRules, parameters: NDArray[np.float32], totals: Totals) -> NDArray[np.float32]:
    """x + sum(w_i u_i) / sum(w_i) (McMahan et al. 2017). Both sums carry the factor 2^value_bits / weight_cap,
    so a summed parameter lane is in quanta of clip / 2^value_bits and the quotient in units of the clip.

    Where no accepted node has weight, nothing was learnt and the parameters stay.
    """
    released = parameters.copy()
    if totals.weight == 0:
        return released
    factor = rules.numbers.clip_micro / MICRO / totals.weight
    for start, stop, quanta in totals.parameter_blocks():
        released[start:stop] = parameters[start:stop] + quanta * factor
    return released
