"""`crimson gateway`: prepare and run the untrusted relay."""

import typer

from crimson_gateway.commands import approve, holds, invite, nodes, rounds
from crimson_gateway.commands.init import init
from crimson_gateway.commands.outcome import guarded, run_app
from crimson_gateway.commands.serve import serve

INIT_EXAMPLES = """
Examples:

  crimson gateway init --host gateway.example.org

  crimson gateway init --home /srv/gateway --host 10.0.0.7 --cert chain.pem --key server.key
"""
SERVE_EXAMPLES = """
Examples:

  crimson gateway serve

  crimson gateway serve --home /srv/gateway --port 0 --enclave-socket /srv/enclave/run/enclave.sock --json
"""

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich", no_args_is_help=True
)
app.command(epilog=INIT_EXAMPLES)(init)
app.command(epilog=SERVE_EXAMPLES)(serve)
app.command(epilog=invite.EXAMPLES)(invite.invite)
app.command(epilog=nodes.EXAMPLES)(nodes.nodes)
app.command(epilog=approve.EXAMPLES)(approve.approve)
app.command(epilog=holds.SUSPEND_EXAMPLES)(holds.suspend)
app.command(epilog=holds.REVOKE_EXAMPLES)(holds.revoke)
app.add_typer(rounds.app, name="rounds")


@app.callback()
def gateway() -> None:
    """The untrusted relay between hospitals and the enclave."""


def main(argv: list[str]) -> int:
    """Entry point of the launcher."""
    return guarded(lambda: run_app(app, argv, "crimson gateway"), as_json="--json" in argv)
