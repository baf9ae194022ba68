"""`crimson gateway invite`: let one site join, once, with a token that is made here and that the gateway never sees."""

import os
import ssl
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from crimson_gateway.commands.options import Authority, Debug, Home, Json, Key, Url
from crimson_gateway.commands.outcome import guarded, print_data
from crimson_gateway.commands.tables import plain_table
from crimson_gateway.failure import OK
from crimson_gateway.files import write_file
from crimson_gateway.operating.connection import Connection, connection_of
from crimson_gateway.operator_keys import public_of_seed
from crimson_gateway.settings import SettingsFault
from crimson_protocol.enrolment import INVITATION_VERSION, Invitation, NewInvitation, Token, token_text
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.document import KINDS

if TYPE_CHECKING:
    from crimson_gateway.operating.client import GatewayClient

EXAMPLES = """
Examples:

  crimson gateway invite site-berlin --organisation charite --kind hospital --out berlin.token

  crimson gateway invite --list --json

  crimson gateway invite --revoke 5f0c…e1
"""
LONGEST, MOST_RECORD = 168, 4096
Node = Annotated[str | None, typer.Argument(help="Name of the node that may join.", show_default=False)]
Organisation = Annotated[str | None, typer.Option(help="The organisation it belongs to.")]
Kind = Annotated[str | None, typer.Option(help=f"What it is: {' or '.join(KINDS)}.")]
Hours = Annotated[
    int,
    typer.Option(
        min=1, max=LONGEST, help="How long it counts; the gateway sets the most, 24 unless changed."
    ),
]
Out = Annotated[str | None, typer.Option(help="File for the token, or - for standard output.")]
Anchor = Annotated[
    str | None,
    typer.Option(help="SHA-256 of the federation's first root, in hexadecimal, from its governors."),
]
Gateway = Annotated[str | None, typer.Option(help="Address under which the site finds the gateway.")]


@dataclass(frozen=True)
class Site:
    """Whom the invitation is for, and for how many hours."""

    node: str
    organisation: str
    kind: str
    hours: int


def invite(
    node: Node = None,
    organisation: Organisation = None,
    kind: Kind = None,
    hours: Hours = 24,
    out: Out = None,
    list_: Annotated[bool, typer.Option("--list", help="List invitations instead.")] = False,
    revoke: Annotated[str | None, typer.Option(help="Take back the invitation with this id instead.")] = None,
    gateway: Gateway = None,
    anchor: Anchor = None,
    home: Home = None,
    url: Url = None,
    ca: Authority = None,
    key: Key = None,
    json_: Json = False,
    debug: Debug = False,
) -> int:
    """Invite a site. Whoever holds the token may join in its name, once: send it to one person, by a safe way."""

    def work() -> int:
        connection = connection_of(home, url, ca, key)
        if list_:
            return _list(connection, as_json=json_)
        if revoke is not None:
            return _revoke(connection, revoke, as_json=json_)
        if node is None or organisation is None or kind is None or out is None:
            raise SettingsFault(
                "NODE, --organisation, --kind and --out are needed", "crimson gateway invite --help"
            )
        if kind not in KINDS:
            raise SettingsFault(f"there is no kind {kind!r}", f"give {' or '.join(KINDS)}")
        site = Site(node, organisation, kind, hours)
        return _invite(connection, site, out, gateway, _digest(anchor), as_json=json_)

    return guarded(work, as_json=json_, debug=debug)


def _invite(
    connection: Connection, site: Site, out: str, gateway: str | None, anchor: bytes | None, *, as_json: bool
) -> int:
    # Serving must not load what speaks to other machines.
    from crimson_gateway.operating.client import GatewayClient  # noqa: PLC0415
    from crimson_gateway.operating.federation import known_anchor, read_federation  # noqa: PLC0415

    if out != "-" and Path(out).exists():
        raise SettingsFault(f"{out} is there already", "give another --out: a token is not written over")
    with GatewayClient(connection) as client:
        federation = read_federation(client, anchor or known_anchor(connection.home))
        seed = os.urandom(32)
        invitation = Invitation(
            version=INVITATION_VERSION,
            federation=federation.policy.federation,
            gateway=gateway or connection.public_url,
            authority=_authority(connection),
            anchor=federation.anchor,
            policy_digest=federation.policy.digest(),
            policy_serial=federation.policy.serial,
            node=site.node,
            organisation=site.organisation,
            kind=site.kind,
            expires=int(time.time()) + 3600 * site.hours,
            issuer=_issuer(client, federation.policy.operators),
        )
        record = _record(invitation)
        issued = _issue(client, record, seed, out)
    text = token_text(Token(record, seed))
    warnings = (
        [] if federation.pinned else [f"the root was not known here: compare {federation.anchor.hex()}"]
    )
    _show(issued, out, text, warnings, as_json=as_json)
    return OK


def _record(invitation: Invitation) -> bytes:
    """The invitation's bytes, parsed once as the site will. Raises SettingsFault for a name that no record takes."""
    data = invitation.to_bytes()
    try:
        Invitation.from_bytes(data, MOST_RECORD)
    except PeerFault as fault:
        raise SettingsFault(fault.text, "names have 1 to 64 printable bytes, an address 255") from fault
    return data


def _issue(client: "GatewayClient", record: bytes, seed: bytes, out: str) -> dict[str, Any]:
    """Write the token, then tell the gateway of it: a token that nobody knows of opens nothing."""
    path = None if out == "-" else Path(out)
    if path is not None:
        write_file(path.absolute(), (token_text(Token(record, seed)) + "\n").encode())
    try:
        return client.invite(NewInvitation(record, public_of_seed(seed)).to_bytes())
    except BaseException:
        if path is not None:
            path.unlink(missing_ok=True)
        raise


def _issuer(client: "GatewayClient", operators: tuple[Any, ...]) -> str:
    for operator in operators:
        if operator.key == client.public_key:
            return str(operator.name)
    raise SettingsFault("the policy does not list your key as an operator's", "ask the governors to list it")


def _authority(connection: Connection) -> bytes | None:
    """The authority that sites are to trust, as DER; None where a public one signed the gateway's certificate."""
    if connection.authority is None:
        return None
    text = connection.authority.read_text("ascii", "replace")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    if begin not in text or end not in text.split(begin, 1)[1]:
        raise SettingsFault(
            f"{connection.authority} holds no PEM certificate", "give the gateway's tls/ca.pem"
        )
    body = text.split(begin, 1)[1].split(end, 1)[0]
    return ssl.PEM_cert_to_DER_cert(f"{begin}{body}{end}\n")


def _show(issued: dict[str, Any], out: str, text: str, warnings: list[str], *, as_json: bool) -> None:
    data = {"id": issued["id"], "node": issued["node"], "expires": issued["expires"], "file": out}
    if as_json:
        print_data(data | ({"token": text} if out == "-" else {}), warnings)
        return
    console = Console(stderr=True, soft_wrap=True)
    if out == "-":
        print(text, flush=True)
    until = datetime.fromtimestamp(issued["expires"], UTC)
    where = "" if out == "-" else f", token in {out}"
    console.print(f"{issued['node']} may join until {until:%Y-%m-%d %H:%M} UTC{where}", markup=False)
    console.print(f"  id {issued['id']}", markup=False, highlight=False)
    for warning in warnings:
        console.print(f"  warning: {warning}", markup=False, highlight=False)
    console.print(
        "  next: send the token to the site by a safe way; it joins with crimson node join", markup=False
    )


def _list(connection: Connection, *, as_json: bool) -> int:
    from crimson_gateway.operating.client import GatewayClient  # noqa: PLC0415

    with GatewayClient(connection) as client:
        found = client.invitations()
    if as_json:
        print_data({"invitations": found})
        return OK
    rows = [
        (
            item["node"],
            item["organisation"],
            item["kind"],
            item["state"],
            f"{datetime.fromtimestamp(item['expires'], UTC):%Y-%m-%d %H:%M} UTC",
            item["id"],
        )
        for item in found
    ]
    plain_table(("node", "organisation", "kind", "state", "expires", "id"), rows, sys.stdout)
    return OK


def _revoke(connection: Connection, digest: str, *, as_json: bool) -> int:
    from crimson_gateway.operating.client import GatewayClient  # noqa: PLC0415

    with GatewayClient(connection) as client:
        client.revoke_invitation(_hex(digest, "--revoke").hex())
    if as_json:
        print_data({"id": digest, "state": "revoked"})
    else:
        Console(stderr=True).print("the invitation is taken back", markup=False)
    return OK


def _digest(anchor: str | None) -> bytes | None:
    return None if anchor is None else _hex(anchor, "--anchor")


def _hex(text: str, option: str) -> bytes:
    try:
        raw = bytes.fromhex(text.strip())
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise SettingsFault(f"{option} takes 64 hexadecimal digits", "copy them whole")
    return raw
