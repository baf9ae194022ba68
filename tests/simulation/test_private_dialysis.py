"""Record-level privacy on real patients of many small sites costs hardly any concordance."""

import pytest
from benchmarks.learning.data import data_file
from benchmarks.learning.record_privacy import DIALYSIS, NO_PRIVACY, STEPS, Settings, concordance, load

SEED = 0


@pytest.mark.skipif(
    not data_file(*DIALYSIS.file).exists(),
    reason="the patients' licence allows no copy here: set CRIMSON_DATA to the folder that has them",
)
def test_epsilon_2_costs_dialysis_patients_less_than_five_thousandths() -> None:
    """One seed; `make bench-learning` runs five."""
    rows = load(DIALYSIS, SEED)
    open_, private = (
        concordance(DIALYSIS, rows, privacy, SEED, Settings(), STEPS) for privacy in (NO_PRIVACY, 2)
    )
    assert open_ > 0.63
    assert private > open_ - 0.005
