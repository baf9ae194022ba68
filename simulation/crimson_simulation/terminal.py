"""What a person sees on stderr: progress while a run works, and the closing table."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


class TerminalDisplay:
    """A progress bar on a terminal; plain lines elsewhere, one per tenth of the rounds."""

    def __init__(self, rounds: int) -> None:
        self.console = Console(stderr=True, soft_wrap=True)
        self._rounds, self._loss = rounds, ""
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("rounds", total=rounds, detail="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._bar.stop()

    def stage(self, text: str) -> None:
        """A new stage of the run."""
        self.console.print(f"· {text}", highlight=False)

    def round(self, number: int, of: int, loss: float | None) -> None:
        """A round was released; `loss` is the training loss per event before it."""
        self._loss = f"loss {loss:.4f}" if loss is not None else ""
        self._bar.update(self._task, completed=number, detail=self._loss)
        if not self.console.is_terminal and (number == of or number % max(1, of // 10) == 0):
            self.console.print(f"  round {number} of {of} {self._loss}", highlight=False)

    def phase(self, name: str) -> None:
        """The running round moved on."""
        self._bar.update(self._task, detail=f"{name:<9} {self._loss}")


def closing_table(summary: dict[str, Any]) -> Table:
    """The figures of a run; every one was measured in it."""
    metric, evidence = summary["metric"], summary["evidence"]
    title = f"{summary['model']}: {summary['nodes']} sites, {summary['rounds']} rounds"
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    sitewise = metric["sitewise"]
    table.add_row("federated", _number(metric["federated"]), "Harrell's C, pooled held-out rows")
    table.add_row("centralised", _number(metric["centralised"]), "one model on all rows in one place")
    table.add_row(
        "single sites, mean",
        _number(metric["local_mean"]),
        f"{len(metric['local'])} models, same held-out rows",
    )
    if sitewise is not None:
        seen = f"pairs within sites, {sitewise['sites_scored']} sites scored"
        table.add_row("through secure lanes", _number(sitewise["concordance"]), seen)
    if summary["privacy"] is not None:
        privacy = summary["privacy"]
        terms = f"of {privacy['budget']:g}, delta {privacy['delta']:.0e}, {privacy['adjacency']}"
        table.add_row("epsilon spent", f"{privacy['epsilon']:.3f}", f"per {privacy['unit']}, {terms}")
        table.add_row(*noise_row(privacy))
    table.add_section()
    table.add_row("secure = plain sum", _yes(summary["sum_matches_plain"]), "every lane, every round")
    table.add_row("killed in mid-round", str(len(summary["dropped"])), "nodes, over all rounds")
    table.add_row("receipts", str(summary["receipts"]), f"log verified: {_yes(summary['log']['verified'])}")
    table.add_row("uploaded", f"{_total_up(summary) / 1e6:.1f} MB", f"in {summary['seconds']['total']:.1f} s")
    table.add_section()
    kind = "SIMULATED" if evidence["simulated"] else evidence["kind"]
    table.add_row("evidence", kind, "a software root, not hardware")
    table.add_row("enclave isolated", _yes(evidence["isolated"]), _isolation(summary))
    return table


def noise_row(privacy: Mapping[str, Any]) -> tuple[str, str, str]:
    """How much noise there is, and where it enters."""
    where = {"release": "once, in the enclave", "nodes": "at each site, in every local step"}
    return "noise multiplier", f"{privacy['noise_multiplier']:.3f}", where[privacy["noise"]]


def _isolation(summary: dict[str, Any]) -> str:
    """How many measures hold, and which do not."""
    if summary["engine"] == "inline":
        return "one process, in memory"
    measures = summary["evidence"]["measures"]
    missing = sorted(name for name, held in measures.items() if not held)
    shown = ", ".join(missing[:2]) + (", …" if len(missing) > 2 else "")
    return f"{len(measures) - len(missing)} of {len(measures)} measures" + (
        f", not {shown}" if missing else ""
    )


def _total_up(summary: dict[str, Any]) -> int:
    return int(summary["bytes"]["control_up"] + summary["bytes"]["vectors_up"])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _yes(value: bool | None) -> str:
    return "–" if value is None else "yes" if value else "NO"
