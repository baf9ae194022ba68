"""`crimson train`: a federation on one machine."""

import os
from pathlib import Path
from typing import Annotated

import typer

from crimson_node.application import run_app
from crimson_node.outcome import guarded
from crimson_simulation.options import BadOption, TrainOptions
from crimson_simulation.settings import option_defaults, read_settings

EXAMPLES = """
Examples:

  crimson train --model survival --data units.csv --site-column hospital --time-column days --event-column failed

  crimson train --model survival --data units.csv --nodes 8 --time-column days --event-column failed --drop 0.2 --json

  crimson train --model hazard --data units.csv --nodes 8 --time-column days --event-column failed --dp record --dry-run
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command(epilog=EXAMPLES)
def train(
    data: Annotated[Path, typer.Option(help="CSV file with every site's rows.")],
    time_column: Annotated[str, typer.Option(help="Column with the time to event or censoring.")],
    event_column: Annotated[str, typer.Option(help="Column with 1 for an event, 0 for censoring.")],
    model: Annotated[
        str, typer.Option(help="What to learn: survival (Cox) or hazard (discrete time).")
    ] = "survival",
    site_column: Annotated[str | None, typer.Option(help="Column that names each row's site.")] = None,
    nodes: Annotated[
        int | None, typer.Option(help="Without a site column: deal rows evenly to this many sites.")
    ] = None,
    split_column: Annotated[
        str | None, typer.Option(help="Column whose values contain train or test.")
    ] = None,
    features: Annotated[str | None, typer.Option(help="Columns to learn from, separated by commas.")] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help="Secure aggregations.", show_default="20, or 200 with --dp record on the release"),
    ] = None,
    strategy: Annotated[str, typer.Option(help="How updates become the next model.")] = "fedavg",
    local_steps: Annotated[int, typer.Option(help="Gradient steps at a site per round.")] = 5,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Step size on scaled features.", show_default="0.1 for survival, 0.5 for hazard"),
    ] = None,
    l2: Annotated[
        float | None, typer.Option(help="Ridge penalty.", show_default="0.01, or 0 with --dp record")
    ] = None,
    batch: Annotated[int, typer.Option(help="Rows of a gradient step at a site; 0 takes all.")] = 0,
    proximal: Annotated[float, typer.Option(help="Pull towards the last model, for fedprox.")] = 0.1,
    server_rate: Annotated[
        float | None, typer.Option(help="Step size of the enclave's optimiser.", show_default="by strategy")
    ] = None,
    clip: Annotated[
        float | None, typer.Option(help="Bound on the norm of an update.", show_default="by strategy")
    ] = None,
    bins: Annotated[int, typer.Option(help="Time bins of the hazard.")] = 12,
    hidden: Annotated[
        str | None, typer.Option(help="Widths of the hazard's hidden layers, separated by commas.")
    ] = None,
    mixing: Annotated[
        bool, typer.Option(help="Nearest-neighbour mixing before median and trimmed rules.")
    ] = True,
    weights: Annotated[str, typer.Option(help="Weigh sites by rows, or equal.")] = "rows",
    bucket_size: Annotated[
        int | None, typer.Option(help="Sum in buckets of this size; 1 or 2 is a disclosure.")
    ] = None,
    sketch: Annotated[
        int | None, typer.Option(help="Sketch buckets in all, for filtering; a disclosure.")
    ] = None,
    dp: Annotated[str | None, typer.Option(help="Unit of differential privacy: record or node.")] = None,
    dp_noise: Annotated[
        str,
        typer.Option(
            help="release: once, in the enclave. nodes: at each site, in every local step (--dp record)."
        ),
    ] = "release",
    epsilon: Annotated[float, typer.Option(help="Privacy budget of the whole run.")] = 8.0,
    delta: Annotated[float, typer.Option(help="Failure probability of the privacy guarantee.")] = 1e-5,
    drop: Annotated[float, typer.Option(help="Share of sites to kill in the middle of every round.")] = 0.0,
    attack: Annotated[str | None, typer.Option(help="NAME:SHARE of sites that attack.")] = None,
    engine: Annotated[
        str,
        typer.Option(help="processes: HTTPS, sandbox and one process per site. inline: all in one process."),
    ] = "processes",
    seed: Annotated[
        int, typer.Option(help="Governs splits and simulated faults; never keys, masks or noise.")
    ] = 0,
    out: Annotated[Path, typer.Option(help="Where results go.")] = Path("build/train"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what to expect and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON envelope on stdout.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Train a model across sites on this machine, through the whole secure protocol.

    Every site masks its update; the enclave learns only sums. The result is scored on held-out rows beside
    a model trained on all rows in one place and one model per site.
    """

    def work() -> int:
        options = TrainOptions(
            data=data,
            time_column=time_column,
            event_column=event_column,
            out=out,
            model=model,
            site_column=site_column,
            split_column=split_column,
            features=tuple(name.strip() for name in features.split(",")) if features else None,
            nodes=nodes,
            rounds=rounds,
            strategy=strategy,
            local_steps=local_steps,
            learning_rate=learning_rate,
            l2=l2,
            batch=batch,
            proximal=proximal,
            server_rate=server_rate,
            clip=clip,
            bins=bins,
            hidden=_widths(hidden),
            mixing=mixing,
            weights=weights,
            bucket_size=bucket_size,
            sketch=sketch,
            dp=dp,
            dp_noise=dp_noise,
            epsilon=epsilon,
            delta=delta,
            attack=attack,
            drop=drop,
            seed=seed,
            engine=engine,
        )
        # Loading what trains takes seconds: help and a bad option do not wait for it.
        from crimson_simulation.commands.execution import execute  # noqa: PLC0415

        return execute(options, as_json=json, dry_run=dry_run)

    return guarded(work, as_json=json, debug=debug)


def _widths(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in text.split(",")) if text else ()
    except ValueError:
        raise BadOption("--hidden cannot be used as given", "give widths, like 128,128") from None


def main(argv: list[str]) -> int:
    """Entry point of the launcher."""

    def work() -> int:
        defaults = option_defaults(read_settings(os.environ))
        return run_app(app, argv, "crimson train", defaults)

    return guarded(work, as_json="--json" in argv)
