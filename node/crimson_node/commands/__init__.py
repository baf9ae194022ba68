"""`crimson node`: join, run the agent, look at what it did, find out what stands in its way, and leave."""

import typer

from crimson_node.application import run_app
from crimson_node.commands import doctor, join, journal, key, leave, run, status

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="The hospital's agent: trains, masks and verifies. Outbound only; nothing listens.",
)
app.command(epilog=join.EXAMPLES, context_settings={"allow_extra_args": True})(join.join)
app.command(epilog=run.EXAMPLES)(run.run)
app.command(epilog=status.EXAMPLES)(status.status)
app.command(epilog=doctor.EXAMPLES)(doctor.doctor)
app.command(epilog=leave.EXAMPLES)(leave.leave)
app.add_typer(key.app, name="key")
app.add_typer(journal.app, name="journal")


def main(argv: list[str]) -> int:
    """Entry point of the launcher."""
    return run_app(app, argv, "crimson node")
