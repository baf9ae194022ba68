"""`crimson policy`: the rules of a federation, from files that people read to bytes that governors sign."""

import typer

from crimson_governance.application import run_app
from crimson_governance.commands import admit, diff, explain, init, key, lint, publish, show, sign

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    no_args_is_help=True,
    help="Who and what may take part: written as files, signed by several governors, published for everybody.",
)
app.command(epilog=init.EXAMPLES)(init.init)
app.command("lint", epilog=lint.EXAMPLES)(lint.lint_command)
app.command(epilog=explain.EXAMPLES)(explain.explain)
app.command(epilog=sign.EXAMPLES)(sign.sign)
app.command(epilog=publish.EXAMPLES)(publish.publish)
app.command(epilog=diff.EXAMPLES)(diff.diff)
app.command(epilog=show.EXAMPLES)(show.show)
app.command("admit", epilog=admit.ADMIT_EXAMPLES)(admit.admit_command)
app.command("status", epilog=admit.STATUS_EXAMPLES)(admit.status_command)
app.add_typer(key.app, name="key")


def main(argv: list[str]) -> int:
    """Entry point of the launcher."""
    return run_app(app, argv, "crimson policy")
