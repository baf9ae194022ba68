"""`python -m benchmarks.report`: measure every goal, print a table, write build/bench/report.json.

Exit code 1 where a goal is missed. Times are ratios of two things measured in this one run.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.access import access_decision
from benchmarks.enclave_unmask import enclave_unmask
from benchmarks.gateway_memory import gateway_memory
from benchmarks.goals import Row
from benchmarks.machine import machine
from benchmarks.memory import enclave_memory, node_memory
from benchmarks.messages import message_bodies
from benchmarks.node_masking import node_masking
from benchmarks.relay import relay
from benchmarks.round_cost import round_cost

REPORT = Path("build/bench/report.json")


@dataclass(frozen=True)
class Scale:
    """Sizes of the cohorts and vectors that are measured. The goals belong to the sizes given here."""

    parameters: int = 1_000_000
    neighbours: int = 20
    nodes: int = 100
    dropped: tuple[int, ...] = (10, 30)
    weighed_parameters: int = 4_000_000
    few: int = 20
    many: int = 200
    mask_repeats: int = 21
    unmask_repeats: int = 7
    relayed: int = 1 << 20
    uploads: int = 8
    relay_repeats: int = 5
    at_once: tuple[tuple[int, int], ...] = ((8, 1 << 20), (2, (1 << 26) - 64))
    round_nodes: int = 50
    round_repeats: int = 2
    decisions: int = 21


def measure(scale: Scale) -> Iterator[Row]:
    """Every goal's row, as soon as it is known."""
    yield from node_masking(scale.parameters, scale.neighbours, scale.mask_repeats)
    for dropped in scale.dropped:
        yield enclave_unmask(scale.nodes, scale.parameters, dropped, scale.unmask_repeats)
    for ring_bits in (32, 20):
        yield node_memory(scale.weighed_parameters, ring_bits)
    yield from enclave_memory(scale.few, scale.many, scale.parameters)
    yield from message_bodies(scale.nodes, scale.parameters)
    yield from relay(scale.relayed, scale.uploads, scale.relay_repeats)
    yield from gateway_memory(scale.at_once)
    yield round_cost(scale.round_nodes, scale.parameters, scale.round_repeats)
    yield access_decision(scale.decisions)


def write(rows: Sequence[Row], path: Path) -> None:
    """The rows as a JSON list of {name, value, goal, unit, ok}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def table(rows: Sequence[Row]) -> Table:
    """The rows for people."""
    shown = Table("figure", "value", "goal", "unit", "")
    for row in rows:
        shown.add_row(row.name, f"{row.value:.3f}", row.target, row.unit, _verdict(row))
    return shown


def _verdict(row: Row) -> str:
    if row.goal is None:
        return "reported"
    return "[green]met[/]" if row.ok else "[red]missed[/]"


def run(scale: Scale, path: Path, say: Callable[[object], None]) -> bool:
    """Measure, say and write; whether every goal was met. The machine's load is said before and after."""
    say(machine())
    rows = []
    for row in measure(scale):
        rows.append(row)
        say(f"{row.name}: {row.value:.3f} {row.unit} (goal {row.target})")
    say(table(rows))
    say(machine())
    write(rows, path)
    return all(row.ok for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=REPORT, help="where the JSON report goes")
    out = parser.parse_args(arguments).out
    return 0 if run(Scale(), out, Console().print) else 1


if __name__ == "__main__":
    sys.exit(main())
