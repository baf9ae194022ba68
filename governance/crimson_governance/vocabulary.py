"""Plain words for what a policy names by one word: tasks, strategies, rules, disclosures, numbers."""

from collections.abc import Sequence
from datetime import UTC, datetime

TASKS = {
    "moments": "counts its training rows and adds up each feature and its square, so that all sites can scale alike",
    "cox": "trains a Cox regression on its own training rows",
    "cox-score": "scores the model on its own held-out rows: concordance and Brier sums",
    "hazard": "trains a discrete-time hazard on its own training rows, bin by bin of public time",
    "hazard-score": "scores the hazard on its own held-out rows: concordance and Brier sums",
}
STRATEGIES = {
    "sum": "releases the exact sum of the nodes' counters",
    "fedavg": "moves the model by the weighted mean of the nodes' updates",
    "fedprox": "moves the model by the weighted mean of updates that were held near the last model",
    "fednova": "moves the model by the mean of updates, each divided by the steps it took",
    "fedavgm": "moves the model by the mean update, with momentum",
    "fedadam": "moves the model by Adam on the mean update",
    "fedyogi": "moves the model by Yogi on the mean update",
}
ROBUST_RULES = {
    "none": "Bad updates are not looked for",
    "norm-bound": "Whatever is longer than honest nodes may send is left out",
    "trimmed-mean": "Coordinate by coordinate the largest and the smallest values are left out, and the rest averaged",
    "median": "Coordinate by coordinate the middle value counts",
    "geometric-median": "The point with the least total distance to all values counts",
    "krum": "The one value that is closest to its neighbours counts",
    "multi-krum": "The values that are closest to their neighbours are averaged",
    "centered-clipping": "Values far from the last change are pulled towards it before they are averaged",
    "sketch-filter": "Nodes whose sketches stand out by length, direction or distance are left out of the round",
}
DISCLOSURES = {
    "small-buckets": "inside the enclave, sums over fewer nodes than usually demanded can be seen",
    "single-updates": "inside the enclave, each node's single update can be seen",
    "sketches": "the enclave sees a compressed sketch of each node's update",
    "simulated": "all of that is accepted although no hardware protects the enclave",
    "no-corruption": "every node is trusted: one that colludes with a broken enclave is not allowed for",
}
STATUSES = {
    "active": "may take part",
    "suspended": "may not take part until the governors say so",
    "revoked": "may never take part again under these keys",
}


def date_of(seconds: int) -> str:
    """Unix time as a date and time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def listed(words: Sequence[str], nothing: str = "nobody") -> str:
    """a, b and c."""
    if not words:
        return nothing
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def counted(count: int, one: str, many: str | None = None) -> str:
    """1 node, 2 nodes."""
    return f"{count} {one if count == 1 else many or one + 's'}"
