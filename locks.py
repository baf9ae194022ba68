"""Resolve the hashed lock of every deployable from what it and the rooms it imports declare.

torch stays out: its builds differ by platform, so the Makefile installs it first and alone.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOMS = ("protocol", "enclave", "gateway", "node", "governance", "simulation")
OUTSIDE_LOCKS = ("torch",)


def declared(room: str) -> set[str]:
    """Third-party requirements of a room and of the rooms that it depends on."""
    project = tomllib.loads(Path(room, "pyproject.toml").read_text())["project"]
    own = set(project["dependencies"])
    rooms = {line.split("==")[0].removeprefix("crimson-") for line in own if line.startswith("crimson-")}
    kept = {line for line in own if not line.startswith(("crimson-", *OUTSIDE_LOCKS))}
    return kept.union(*(declared(other) for other in rooms))


def resolve(requirements: list[str], lock: Path) -> None:
    """Pin and hash the requirements and all they need."""
    with tempfile.NamedTemporaryFile("w", suffix=".in", delete=False) as source:
        source.write("\n".join(requirements) + "\n")
    command = [
        sys.executable, "-m", "piptools", "compile", "--quiet", "--generate-hashes", "--allow-unsafe",
        "--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host", "--no-emit-options",
        "--no-annotate", "--no-header", "--strip-extras", "--output-file", str(lock), source.name,
    ]  # fmt: skip
    subprocess.run(command, check=True)
    Path(source.name).unlink()


if __name__ == "__main__":
    for room in ROOMS:
        resolve(sorted(declared(room)), Path(room, "requirements.lock"))
    for name in ("build", "dev"):
        lines = Path(f"requirements-{name}.in").read_text().splitlines()
        constraint = [f"-c {Path('simulation/requirements.lock').resolve()}"]
        resolve(
            [line for line in lines if not line.startswith("#")] + constraint,
            Path(f"requirements-{name}.lock"),
        )
