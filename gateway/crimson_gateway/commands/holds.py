"""`crimson gateway suspend` and `revoke`: a node is held back the moment an operator says so."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from crimson_gateway.commands.options import Authority, Debug, Home, Json, Key, Url
from crimson_gateway.commands.outcome import guarded, print_data
from crimson_gateway.failure import OK
from crimson_gateway.operating.connection import Connection, connection_of
from crimson_gateway.settings import SettingsFault

if TYPE_CHECKING:
    from crimson_gateway.operating.client import GatewayClient

SUSPEND_EXAMPLES = """
Examples:

  crimson gateway suspend site-berlin --reason "its machine is being rebuilt"

  crimson gateway suspend site-berlin --lift
"""
REVOKE_EXAMPLES = """
Examples:

  crimson gateway revoke site-berlin --reason "its key was stolen"

  crimson gateway revoke site-berlin --reason "wrong fingerprint" --json
"""
Node = Annotated[str, typer.Argument(help="Name of the node.", show_default=False)]


def suspend(
    node: Node,
    reason: Annotated[str | None, typer.Option(help="Why; the site reads it.")] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Let it take part again instead.")] = False,
    home: Home = None,
    url: Url = None,
    ca: Authority = None,
    key: Key = None,
    json_: Json = False,
    debug: Debug = False,
) -> int:
    """Hold a node back: from now on it is refused, and no round waits for it. --lift ends that."""

    def work() -> int:
        connection = connection_of(home, url, ca, key)
        if lift:
            return _tell(connection, node, "resumed", lambda client: client.resume(node), as_json=json_)
        if reason is None:
            raise SettingsFault("--reason is needed", "say why; the site reads it")
        return _tell(
            connection, node, "suspended", lambda client: client.suspend(node, reason), as_json=json_
        )

    return guarded(work, as_json=json_, debug=debug)


def revoke(
    node: Node,
    reason: Annotated[str, typer.Option(help="Why; the site reads it.")],
    home: Home = None,
    url: Url = None,
    ca: Authority = None,
    key: Key = None,
    json_: Json = False,
    debug: Debug = False,
) -> int:
    """Refuse a node's keys for good, and what it asks for. It may be invited again and make other keys."""

    def work() -> int:
        connection = connection_of(home, url, ca, key)
        return _tell(connection, node, "revoked", lambda client: client.revoke(node, reason), as_json=json_)

    return guarded(work, as_json=json_, debug=debug)


def _tell(
    connection: Connection, node: str, done: str, tell: "Callable[[GatewayClient], None]", *, as_json: bool
) -> int:
    from crimson_gateway.operating.client import GatewayClient  # noqa: PLC0415

    with GatewayClient(connection) as client:
        tell(client)
    if as_json:
        print_data({"node": node, "state": done})
        return OK
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"{node} is {done}", markup=False)
    if done == "revoked":
        console.print(
            "  next: have the governors list it as revoked, so that the enclave refuses it too", markup=False
        )
    return OK
