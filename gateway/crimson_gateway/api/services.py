"""What the paths work with, and who may call them."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Request

from crimson_gateway.authentication import Gate, Signed
from crimson_gateway.context import Context
from crimson_gateway.driver import Driver
from crimson_gateway.driver.phases import cap_of_control
from crimson_gateway.problems import Problem
from crimson_gateway.store.tables import Round
from crimson_protocol.layout import Layout
from crimson_protocol.wire import web

OPERATOR_CAP = 1 << 16
ENDORSEMENT_CAP = 1024


@dataclass
class Services:
    """One running gateway, as its paths see it."""

    context: Context
    gate: Gate
    driver: Driver

    def __post_init__(self) -> None:
        policy = self.context.policy
        self.control_cap = cap_of_control(len(policy.roster))
        self.vector_lengths = {rules.model: Layout(rules.numbers).packed for rules in policy.models}
        self.vector_cap = max(self.vector_lengths.values(), default=0)


def services_of(request: Request) -> Services:
    """The services of the application that the request came to."""
    found: Services = request.app.state.services
    return found


def signed_by(role: str | None, cap: Callable[[Services], int] = lambda _: 0) -> Any:
    """A dependency: the request's authentic head, of a node, an operator, or (None) either of them, before any of
    its body is read."""

    async def admitted(request: Request) -> AsyncIterator[Signed]:
        services = services_of(request)
        async with services.gate.admitted(request, cap(services)) as signed:
            if role is not None and (signed.caller.node is None) is not (role == "operator"):
                raise Problem("not-permitted", f"only for a {role}'s key")
            # Logs and counts name the caller; nothing else of the signature leaves here.
            request.scope["state"]["caller"] = signed.caller.name
            yield signed

    return Depends(admitted)


Use = Annotated[Services, Depends(services_of)]
Member = Annotated[Signed, signed_by(None)]
Node = Annotated[Signed, signed_by("node")]
Operator = Annotated[Signed, signed_by("operator")]

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem (RFC 9457); docs/errors.md explains its code",
        "content": {web.PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


def binary(media: str, description: str, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of a path that answers with bytes."""
    return {status: {"description": description, "content": {media: {}}}}


def takes(media: str, description: str) -> dict[str, Any]:
    """OpenAPI request body of a path that takes bytes."""
    schema = {"type": "string", "format": "binary"}
    return {
        "requestBody": {"required": True, "description": description, "content": {media: {"schema": schema}}}
    }


def node_index(signed: Signed) -> int:
    """Roster index of the calling node."""
    assert signed.caller.node is not None
    return signed.caller.node


def moment(value: datetime) -> str:
    """A moment as text."""
    return value.isoformat(timespec="milliseconds")


def existing(round_: Round | None) -> Round:
    """The round, or Problem(unknown-round)."""
    if round_ is None:
        raise Problem("unknown-round")
    return round_
