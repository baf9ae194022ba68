"""Where the data sets of these benchmarks lie. None is shipped: their licences allow research and tests."""

import os
from pathlib import Path

FOLDER = "CRIMSON_DATA"


def data_file(*parts: str) -> Path:
    """A file of the data folder: that of the variable CRIMSON_DATA, else ../shared/data beside the checkout."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    return Path(os.environ.get(FOLDER, beside)).joinpath(*parts)
