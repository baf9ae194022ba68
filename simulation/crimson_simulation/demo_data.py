"""The demonstration's data: WHAS500, 500 patients after a heart attack, bundled with scikit-survival.

Not blood: it is small, real and freely distributed. Rows are sorted by age plus noise and dealt in that
order, so the six sites differ from one another, as hospitals do.
"""

import os
from pathlib import Path

import numpy as np
import polars as pl
from sksurv.datasets import load_whas500

SITES = {"C": 90, "A": 160, "E": 45, "B": 120, "F": 25, "D": 60}
SEED = 500
NOTE = "WHAS500: patients after a heart attack, not blood units"


def write_whas500(path: Path) -> None:
    """Write the demonstration's CSV: columns site, time (days), event, and the 14 features."""
    features, outcome = load_whas500()
    table = features.astype(float)
    age = table["age"].to_numpy()
    noise = np.random.default_rng(SEED).normal(0.0, age.std(), len(age))
    order = np.argsort(age + noise, kind="stable")
    sites = np.repeat(list(SITES), list(SITES.values()))
    columns = {"site": sites, "time": outcome["lenfol"][order], "event": outcome["fstat"][order].astype(int)}
    columns |= {name: table[name].to_numpy()[order] for name in table.columns}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    pl.DataFrame(columns).write_csv(temporary)
    os.replace(temporary, path)
