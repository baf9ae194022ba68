"""`crimson gateway rounds`: start rounds, and follow them to their end."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from crimson_gateway.commands.options import Authority, Debug, Home, Json, Key, Url
from crimson_gateway.commands.outcome import guarded, print_data
from crimson_gateway.commands.tables import plain_table
from crimson_gateway.failure import BAD_INPUT, FAILED, OK, ClientFault, Failure
from crimson_gateway.operating.connection import Connection, connection_of
from crimson_gateway.operating.orders import round_order
from crimson_protocol.wire.web import OVER

if TYPE_CHECKING:
    from crimson_gateway.operating.client import GatewayClient

START_EXAMPLES = """
Examples:

  crimson gateway rounds start survival --wait

  crimson gateway rounds start survival --count 20 --json

  crimson gateway rounds start survival --strategy fedadam --wait
"""
STATUS_EXAMPLES = """
Examples:

  crimson gateway rounds status

  crimson gateway rounds status 12 --json
"""
WATCH_EXAMPLES = """
Examples:

  crimson gateway rounds watch

  crimson gateway rounds watch 12 --json
"""
NEWEST = 20
app = typer.Typer(no_args_is_help=True, help="Start rounds, and follow them to their end.")
RoundId = Annotated[
    int | None, typer.Argument(min=1, max=2**53, help="The round's id.", show_default="the newest")
]


@app.command(epilog=START_EXAMPLES)
def start(
    model: Annotated[str, typer.Argument(help="A model of the policy.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many rounds, one after the other.")] = 1,
    strategy: Annotated[
        str | None, typer.Option(help="A strategy that the policy allows instead of its first choice.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow them until the last is over.")] = False,
    home: Home = None,
    url: Url = None,
    ca: Authority = None,
    key: Key = None,
    json_: Json = False,
    debug: Debug = False,
) -> int:
    """Start rounds of a model. With --wait, exit code 0 says that each was released; the first that is not ends it."""

    def work() -> int:
        order = round_order(model, strategy)
        return _start(connection_of(home, url, ca, key), order, count, wait=wait, as_json=json_)

    return guarded(work, as_json=json_, debug=debug)


@app.command(epilog=STATUS_EXAMPLES)
def status(
    round_id: RoundId = None,
    home: Home = None,
    url: Url = None,
    ca: Authority = None,
    key: Key = None,
    json_: Json = False,
    debug: Debug = False,
) -> int:
    """Show where a round stands; without an id, the newest rounds."""
    return guarded(
        lambda: _status(connection_of(home, url, ca, key), round_id, as_json=json_),
        as_json=json_,
        debug=debug,
    )


@app.command(epilog=WATCH_EXAMPLES)
def watch(
    round_id: RoundId = None,
    home: Home = None,
    url: Url = None,
    ca: Authority = None,
    key: Key = None,
    json_: Json = False,
    debug: Debug = False,
) -> int:
    """Follow a round until it is over: exit code 0 where it was released, 1 where not."""

    def work() -> int:
        return _watch(connection_of(home, url, ca, key), round_id, as_json=json_)

    return guarded(work, as_json=json_, debug=debug)


def _start(connection: Connection, order: bytes, count: int, *, wait: bool, as_json: bool) -> int:
    from crimson_gateway.operating.client import GatewayClient  # noqa: PLC0415

    with GatewayClient(connection) as client:
        views = []
        for _ in range(count):
            view = client.order_round(order)
            # One after the other where they are followed: rounds behind a lost one would only be lost as well.
            view = _followed(client, view["id"], as_json=as_json) if wait else view
            views.append(view)
            if wait and view["state"] != "released":
                break
    if as_json:
        failure = _failure(views[-1]) if wait else None
        print_data({"rounds": views}, failure=failure)
        return OK if failure is None else failure.exit_code
    for view in views:
        print(f"round {view['id']} of {view['model']}: {view['state']}")
    return _ended(views[-1]) if wait else OK


def _status(connection: Connection, round_id: int | None, *, as_json: bool) -> int:
    from crimson_gateway.operating.client import GatewayClient  # noqa: PLC0415

    with GatewayClient(connection) as client:
        found = client.rounds(NEWEST) if round_id is None else [client.round(round_id)]
    if as_json:
        print_data({"rounds": found} if round_id is None else found[0])
        return OK
    columns = ("id", "model", "round", "attempt", "state", "code", "waits for", "began")
    plain_table(columns, [_row(view) for view in found], sys.stdout)
    faults = [fault for view in found for fault in view["faults"]] if round_id is not None else []
    for fault in faults:
        Console(soft_wrap=True).print(f"{fault['culprit'] or 'nobody'}: {fault['code']}", markup=False)
    return OK


def _watch(connection: Connection, round_id: int | None, *, as_json: bool) -> int:
    from crimson_gateway.operating.client import GatewayClient  # noqa: PLC0415

    with GatewayClient(connection) as client:
        view = _followed(client, round_id or _newest(client), as_json=as_json)
    if as_json:
        print_data(view, failure=_failure(view))
        return OK if view["state"] == "released" else FAILED
    print(f"round {view['id']} of {view['model']}: {view['state']}")
    return _ended(view)


def _newest(client: "GatewayClient") -> int:
    """The oldest round that is not over, else the newest. Raises ClientFault where there is none."""
    found = client.rounds(100)
    running = [view for view in found if view["state"] not in OVER]
    if not found:
        hint = "start one with crimson gateway rounds start MODEL"
        raise ClientFault(Failure(BAD_INPUT, "unknown-round", "there is no round yet", hint))
    return int((running[-1] if running else found[0])["id"])


def _followed(client: "GatewayClient", round_id: int, *, as_json: bool) -> dict[str, Any]:
    from crimson_gateway.operating.watching import RoundDisplay, follow  # noqa: PLC0415

    with RoundDisplay(quiet=as_json) as display:
        return follow(client, round_id, display)


def _failure(view: dict[str, Any]) -> Failure | None:
    if view["state"] == "released":
        return None
    text = f"round {view['id']} of {view['model']} is {view['state']}: {view['code'] or 'no code'}"
    hint = "docs/errors.md explains the code; crimson gateway rounds status ID names who broke a rule"
    return Failure(FAILED, "round-not-released", text, hint)


def _ended(view: dict[str, Any]) -> int:
    failure = _failure(view)
    if failure is not None:
        raise ClientFault(failure)
    return OK


def _row(view: dict[str, Any]) -> tuple[str, ...]:
    waiting = ", ".join(view["waiting"])
    began = view["created"][:19].replace("T", " ")
    place = str(view["number"] or "-"), str(view["attempt"] or "-")
    return str(view["id"]), view["model"], *place, view["state"], view["code"] or "", waiting, began
