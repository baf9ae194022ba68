"""`crimson demo`: six hospitals on real data, start to finish."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crimson_node.application import run_app
from crimson_node.outcome import guarded
from crimson_simulation.options import TrainOptions

EXAMPLES = """
Examples:

  crimson demo

  crimson demo --out build/demo --json
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command(epilog=EXAMPLES)
def demo(
    out: Annotated[Path, typer.Option(help="Where results go.")] = Path("build/demo"),
    rounds: Annotated[int, typer.Option(help="Secure aggregations.")] = 20,
    seed: Annotated[int, typer.Option(help="Governs the split into training and held-out rows.")] = 0,
    engine: Annotated[
        str,
        typer.Option(help="processes: HTTPS, sandbox and one process per site. inline: all in one process."),
    ] = "processes",
    json: Annotated[bool, typer.Option("--json", help="One JSON envelope on stdout.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Run a federation of six hospitals on this machine and leave its results in a folder."""
    options = TrainOptions(
        data=out / "whas500.csv",
        time_column="time",
        event_column="event",
        out=out,
        site_column="site",
        rounds=rounds,
        seed=seed,
        engine=engine,
    )
    return guarded(lambda: _run(options, as_json=json), as_json=json, debug=debug)


def _run(options: TrainOptions, *, as_json: bool) -> int:
    # Loading what trains takes seconds: help does not wait for it.
    from crimson_simulation.commands.execution import execute  # noqa: PLC0415
    from crimson_simulation.demo_data import NOTE, write_whas500  # noqa: PLC0415

    Console(stderr=True, soft_wrap=True).print(f"data: {NOTE}", highlight=False)
    write_whas500(options.data)
    return execute(options, as_json=as_json)


def main(argv: list[str]) -> int:
    """Entry point of the launcher."""
    return run_app(app, argv, "crimson demo")
