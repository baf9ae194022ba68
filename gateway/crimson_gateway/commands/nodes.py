"""`crimson gateway nodes`: who is listed, who asks to be, whom operators hold back, and who was heard of when."""

import sys
from typing import Any

from crimson_gateway.commands.options import Authority, Debug, Home, Json, Key, Url
from crimson_gateway.commands.outcome import guarded, print_data
from crimson_gateway.commands.tables import plain_table
from crimson_gateway.failure import OK
from crimson_gateway.operating.connection import Connection, connection_of

EXAMPLES = """
Examples:

  crimson gateway nodes

  crimson gateway nodes --url https://gateway.example.org --ca ca.pem --key operator.pem --json
"""


def nodes(
    home: Home = None,
    url: Url = None,
    ca: Authority = None,
    key: Key = None,
    json_: Json = False,
    debug: Debug = False,
) -> int:
    """Show every node and every request: what the policy says, what is held against it, when it last spoke."""
    return guarded(
        lambda: _nodes(connection_of(home, url, ca, key), as_json=json_), as_json=json_, debug=debug
    )


def _nodes(connection: Connection, *, as_json: bool) -> int:
    from crimson_gateway.operating.client import GatewayClient  # noqa: PLC0415

    with GatewayClient(connection) as client:
        listed, asked = client.nodes(), client.enrolments()
    if as_json:
        print_data({"nodes": listed, "enrolments": asked})
        return OK
    plain_table(
        ("node", "organisation", "kind", "policy", "here", "last seen", "endorsed", "suspicion"),
        [_listed(node) for node in listed],
        sys.stdout,
        "Nodes of the policy",
    )
    plain_table(
        ("node", "asks to", "state", "approvals", "since", "reason"),
        [_asked(enrolment) for enrolment in asked],
        sys.stdout,
        "Requests",
    )
    return OK


def _listed(node: dict[str, Any]) -> tuple[str, ...]:
    held = node["held"] or ""
    here = f"{held}: {node['reason']}" if held else "-"
    seen = (node["last_seen"] or "never")[:19].replace("T", " ")
    endorsed = "yes" if node["endorsed"] else "no"
    entry = node["node"], node["organisation"], node["kind"], node["status"], here, seen, endorsed
    return *entry, f"{node['suspicion']:.0%}"


def _asked(enrolment: dict[str, Any]) -> tuple[str, ...]:
    approvals = f"{len(enrolment['approvals'])} of {enrolment['needed']}"
    if enrolment["approvals"]:
        approvals += f" ({', '.join(enrolment['approvals'])})"
    since = enrolment["requested"][:19].replace("T", " ")
    verbs = {"join": "join", "rotation": "change its keys", "leave": "leave"}
    asks = verbs.get(enrolment["kind"], enrolment["kind"])
    return enrolment["node"], asks, enrolment["state"], approvals, since, enrolment["reason"] or ""
