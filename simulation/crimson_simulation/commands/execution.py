"""What `crimson train` and `crimson demo` do once their options hold: read, forecast or run, write and show."""

from typing import Any

from rich.console import Console

from crimson_node.outcome import OK, print_data
from crimson_simulation.attacks.registry import attack_of
from crimson_simulation.dataset import read_pooled
from crimson_simulation.forecast import forecast, forecast_table
from crimson_simulation.options import BadOption, TrainOptions
from crimson_simulation.summary import summarise, write_outputs
from crimson_simulation.survival import run
from crimson_simulation.terminal import TerminalDisplay, closing_table


def execute(options: TrainOptions, *, as_json: bool, dry_run: bool = False) -> int:
    """Run, write and show. Raises what `failure_of` knows."""
    console = Console(stderr=True, soft_wrap=True)
    if not options.data.is_file():
        raise BadOption(f"{options.data} is not a file", "give the path of a CSV file with --data")
    attack_of(options)
    pooled = read_pooled(
        options.data,
        site_column=options.site_column,
        split_column=options.split_column,
        time_column=options.time_column,
        event_column=options.event_column,
        features=options.features,
        nodes=options.nodes,
        seed=options.seed,
    )
    console.print(f"features: {', '.join(pooled.declaration.feature_names)}", highlight=False)
    for warning in pooled.warnings:
        console.print(f"[yellow]warning[/]: {warning}", highlight=False)
    if dry_run:
        expected = forecast(pooled, options)
        if as_json:
            print_data(expected, expected["warnings"])
        else:
            Console().print(forecast_table(expected))
        return OK
    with TerminalDisplay(options.steps) as display:
        finished = run(pooled, options, display)
    summary = summarise(finished, pooled, options)
    write_outputs(finished, summary, pooled, options.out)
    _show(summary, console, options, as_json=as_json)
    return OK


def _show(summary: dict[str, Any], console: Console, options: TrainOptions, *, as_json: bool) -> None:
    if as_json:
        print_data(summary, summary["warnings"])
        return
    Console().print(closing_table(summary))
    for warning in summary["warnings"]:
        console.print(f"[yellow]warning[/]: {warning}", highlight=False)
    console.print(
        f"results: {options.out}/summary.json, model.safetensors, receipts/, log.cbor", highlight=False
    )
