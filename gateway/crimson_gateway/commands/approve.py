"""`crimson gateway approve`: a request is the site's own once its fingerprint was compared by another way."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from crimson_gateway.commands.options import Authority, Debug, Home, Json, Key, Url
from crimson_gateway.commands.outcome import guarded, print_data
from crimson_gateway.enrolment.fingerprints import matches
from crimson_gateway.failure import INTEGRITY, OK, ClientFault, Failure
from crimson_gateway.files import write_file
from crimson_gateway.operating.connection import Connection, connection_of
from crimson_gateway.settings import SettingsFault
from crimson_protocol.enrolment import MAX_REQUEST, JoinRequest, RotationRequest, open_join, open_rotation
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal

if TYPE_CHECKING:
    from crimson_gateway.operating.client import GatewayClient

EXAMPLES = """
Examples:

  crimson gateway approve site-berlin --out berlin.request

  crimson gateway approve site-berlin --request carried.request --fingerprint-file words.txt --json
"""
MAX_WORDS = 1 << 10
Node = Annotated[str, typer.Argument(help="Name of the node.", show_default=False)]
Fingerprint = Annotated[
    str | None, typer.Option(help="What the site read out: ten words, or its digest. Default: you are asked.")
]
FingerprintFile = Annotated[Path | None, typer.Option(help="A file with what the site read out.")]
Request = Annotated[
    Path | None, typer.Option(help="The request as a file, from a site that does not connect itself yet.")
]
Out = Annotated[Path | None, typer.Option(help="Write the request here, for the governors.")]


def approve(
    node: Node,
    fingerprint: Fingerprint = None,
    fingerprint_file: FingerprintFile = None,
    request: Request = None,
    out: Out = None,
    home: Home = None,
    url: Url = None,
    ca: Authority = None,
    key: Key = None,
    json_: Json = False,
    debug: Debug = False,
) -> int:
    """Approve a site's request, once the site has read its fingerprint out to you by phone.

    What is compared is computed here, from the request itself, and not taken from the gateway.
    """

    def work() -> int:
        connection = connection_of(home, url, ca, key)
        carried = None if request is None else _read(request, MAX_REQUEST)
        given = _given(fingerprint, fingerprint_file)
        return _approve(connection, node, given, carried, out, as_json=json_)

    return guarded(work, as_json=json_, debug=debug)


def _approve(
    connection: Connection,
    node: str,
    given: str | None,
    carried: bytes | None,
    out: Path | None,
    *,
    as_json: bool,
) -> int:
    from crimson_gateway.operating.client import GatewayClient  # noqa: PLC0415

    with GatewayClient(connection) as client:
        if carried is not None:
            _opened(carried, node)
            client.carry(carried)
        data = client.request_of(node)
        if carried is not None and data != carried:
            raise _differs("the gateway has another request of this node than the file")
        asked = _opened(data, node)
        words = given or _asked_for(node)
        view = _compared(client, node, asked, words)
    if out is not None:
        write_file(out.absolute(), data)
    _show(view, out, as_json=as_json)
    return OK


def _compared(
    client: "GatewayClient", node: str, asked: JoinRequest | RotationRequest, words: str
) -> dict[str, Any]:
    """The approval, once words and keys agree here. Where they do not, the gateway is told, so that it is noted."""
    if matches(words, asked.identity_key, asked.encryption_key):
        return client.approve(node, words)
    try:
        client.approve(node, words)
    except ClientFault as fault:
        if fault.failure.code != "fingerprint-differs":
            raise
    raise _differs("the keys in the request are not those whose fingerprint you gave")


def _differs(text: str) -> ClientFault:
    hint = "have the site read it out again; where it differs still, revoke the node and invite it anew"
    return ClientFault(Failure(INTEGRITY, "fingerprint-differs", text, hint))


def _opened(data: bytes, node: str) -> JoinRequest | RotationRequest:
    """The request, with its signatures checked here. Raises ClientFault where one does not hold, and SettingsFault for
    anything but a request of this node."""
    openings: tuple[Callable[[], JoinRequest | RotationRequest], ...] = (
        lambda: open_join(data, None),
        lambda: open_rotation(data),
    )
    for opening in openings:
        try:
            asked = opening()
        except PeerFault as fault:
            if fault.code is Refusal.BAD_SIGNATURE:
                hint = "have the site make the request anew; this one was changed on its way"
                raise ClientFault(Failure(INTEGRITY, "bad-signature", fault.text, hint)) from fault
            continue
        if asked.node != node:
            raise SettingsFault(f"the request is that of {asked.node}", "approve it under its own name")
        return asked
    raise SettingsFault(
        "this is no request to join or to change keys", "give the file that the site wrote, whole"
    )


def _given(fingerprint: str | None, file: Path | None) -> str | None:
    if fingerprint is not None and file is not None:
        raise SettingsFault("--fingerprint and --fingerprint-file are given", "give one of them")
    if file is not None:
        return _read(file, MAX_WORDS).decode("utf-8", "replace").strip()
    if fingerprint is None and not sys.stdin.isatty():
        raise SettingsFault(
            "there is nobody to ask for the fingerprint", "give --fingerprint or --fingerprint-file"
        )
    return fingerprint


def _asked_for(node: str) -> str:
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"Have {node} read out the ten words that it shows; type what you hear.", markup=False)
    return str(typer.prompt("words", err=True))


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise SettingsFault(f"{path} is larger than {most} bytes", "it is not the file that is asked for")
    return data


def _show(view: dict[str, Any], out: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_data(view | {"file": str(out) if out else None})
        return
    console = Console(stderr=True, soft_wrap=True)
    count = f"{len(view['approvals'])} of {view['needed']} operators"
    console.print(f"{view['node']} is {view['state']}: {count} compared its fingerprint", markup=False)
    if view["state"] == "approved":
        where = str(out) if out else "the request (--out FILE writes it)"
        console.print(f"  next: give {where} to the governors, for crimson policy admit", markup=False)
