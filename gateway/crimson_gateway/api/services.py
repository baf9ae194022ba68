"""What the paths work with, and who may call them."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from crimson_gateway.authentication import Gate, Signed
from crimson_gateway.authentication.callers import CANDIDATE, INVITED, NODE, OPERATOR, Caller
from crimson_gateway.context import Context, utc_now
from crimson_gateway.driver import Driver
from crimson_gateway.driver.phases import cap_of_control
from crimson_gateway.following import known_callers
from crimson_gateway.problems import Problem
from crimson_gateway.published import Published
from crimson_gateway.store.tables import Round
from crimson_protocol.policy.document import Policy
from crimson_protocol.wire import web

OPERATOR_CAP = 1 << 16
ENDORSEMENT_CAP = 1024


@dataclass(frozen=True)
class Services:
    """One running gateway, as its paths see it. A request keeps the policy that it began with."""

    context: Context
    gate: Gate
    driver: Driver
    published: Published

    @property
    def policy(self) -> Policy:
        """The policy that this request began with."""
        return self.published.policy

    @property
    def anchor(self) -> bytes:
        """SHA-256 of the federation's first root."""
        return self.published.verified.trust.anchor

    @property
    def control_cap(self) -> int:
        """Most bytes of a node's envelope."""
        return cap_of_control(len(self.policy.roster))

    @property
    def vector_lengths(self) -> Mapping[str, int]:
        """Bytes of a masked vector, by model."""
        return self.published.vector_lengths

    @property
    def vector_cap(self) -> int:
        """Most bytes of a masked vector, those of a running attempt included."""
        return max(self.published.vector_cap, self.context.running_vector)

    async def callers_changed(self) -> None:
        """What the database holds for and against keys counts from now on, for requests that wait as well."""
        await known_callers(self.context, self.gate)

    def refuse_held(self, caller: Caller) -> None:
        """Raise the Problem that stands against a caller by now: what waits is asked again when it is woken."""
        self.gate.refuse_held(caller)


def services_of(request: Request) -> Services:
    """The services of the application that the request came to."""
    state = request.scope["state"]
    if "services" not in state:
        running: Services = request.app.state.services
        state["services"] = replace(running, published=running.context.published)
    found: Services = state["services"]
    return found


def signed_by(
    roles: Collection[str], cap: Callable[[Services], int] = lambda _: 0, *, held: bool = False
) -> Any:
    """A dependency: the request's authentic head, of a key in one of these roles, before any of its body is read.
    `held`: also of a key that something is held against."""

    async def admitted(request: Request) -> AsyncIterator[Signed]:
        services = services_of(request)
        async with services.gate.admitted(request, cap(services)) as signed:
            caller = signed.caller
            # Logs and counts name the caller; nothing else of the signature leaves here.
            request.scope["state"]["caller"] = caller.name
            if caller.role not in roles:
                raise Problem("not-permitted", f"only for the key of: {', '.join(roles)}")
            if not held:
                services.refuse_held(caller)
            yield signed

    return Depends(admitted)


Use = Annotated[Services, Depends(services_of)]
Member = Annotated[Signed, signed_by((NODE, OPERATOR))]
Reader = Annotated[Signed, signed_by((NODE, OPERATOR, INVITED, CANDIDATE))]
Node = Annotated[Signed, signed_by((NODE,))]
Operator = Annotated[Signed, signed_by((OPERATOR,))]

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


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI request body of a path that takes JSON and reads it itself, after the signature."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


Told = TypeVar("Told", bound=BaseModel)


def read_json(model: type[Told], body: bytes) -> Told:
    """A JSON body. Raises Problem(bad-parameter), which names the field and not its value."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise Problem("bad-parameter", f"{where}: {first['msg']}") from error


def now_and_seconds() -> tuple[datetime, int]:
    """The present moment, and the same in Unix seconds."""
    now = utc_now()
    return now, int(now.timestamp())


def moment(value: datetime) -> str:
    """A moment as text."""
    return value.isoformat(timespec="milliseconds")


def existing(round_: Round | None) -> Round:
    """The round, or Problem(unknown-round)."""
    if round_ is None:
        raise Problem("unknown-round")
    return round_
