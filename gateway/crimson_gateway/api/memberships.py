"""What operators decide about sites: approve a request, suspend, resume or revoke a node."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from crimson_gateway.api.services import (
    OPERATOR_CAP,
    PROBLEMS,
    Operator,
    Services,
    Use,
    binary,
    json_body,
    moment,
    now_and_seconds,
    read_json,
    signed_by,
)
from crimson_gateway.authentication import Signed
from crimson_gateway.authentication.callers import OPERATOR
from crimson_gateway.bodies import whole
from crimson_gateway.enrolment.verdicts import (
    approve,
    approvers,
    requested,
    resume_node,
    revoke_node,
    standing,
    suspend_node,
)
from crimson_gateway.problems import Problem
from crimson_gateway.store.enrolments import newest_enrolments
from crimson_gateway.store.reports import report
from crimson_gateway.store.tables import Enrolment
from crimson_protocol.policy.document import Policy
from crimson_protocol.wire import web

MOST, MOST_REASON = 500, 200
NodeName = Annotated[str, Path(min_length=1, max_length=64)]
Verdicts = Annotated[Signed, signed_by((OPERATOR,), lambda _: OPERATOR_CAP)]
Change = Callable[[Session, Policy, datetime], None]

router = APIRouter(prefix="/v1", tags=["memberships"], responses=PROBLEMS)


def _shown(text: str) -> str:
    """What may be shown to people and sent in a record."""
    if len(text.encode()) > MOST_REASON or not text.isprintable():
        raise ValueError(f"printable text of at most {MOST_REASON} bytes is needed")
    return text


class NewApproval(BaseModel):
    """The fingerprint that the site read out: its words, or its digest in hexadecimal."""

    model_config = ConfigDict(extra="forbid")
    fingerprint: str = Field(min_length=1, max_length=256)


class Because(BaseModel):
    """Why a node is held back. The site reads it."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, AfterValidator(_shown)] = Field(min_length=1, max_length=200)


class EnrolmentView(BaseModel):
    """A request as operators see it, without the fingerprint, which they get from the site. `digest`: SHA-256 of the
    request's bytes."""

    node: str
    kind: str
    state: str
    reason: str | None
    approvals: list[str]
    needed: int
    requested: str
    digest: str


class EnrolmentList(BaseModel):
    """The newest requests."""

    enrolments: list[EnrolmentView]


@router.get("/enrolments", response_model=EnrolmentList)
async def enrolments(services: Use, _: Operator) -> EnrolmentList:
    """The newest requests of sites."""
    async with services.context.database.reading() as session:
        found = newest_enrolments(session, MOST)
        views = [_view(session, services.policy, enrolment) for enrolment in found]
    return EnrolmentList(enrolments=views)


@router.get(
    "/enrolments/{node}/request", response_class=Response, responses=binary(web.CBOR, "The signed request")
)
async def request(services: Use, _: Operator, node: NodeName) -> Response:
    """The node's request, byte for byte: what governors check and list."""
    async with services.context.database.reading() as session:
        return Response(requested(session, node).request, media_type=web.CBOR)


@router.post(
    "/enrolments/{node}/approval", response_model=EnrolmentView, openapi_extra=json_body(NewApproval)
)
async def approval(services: Use, signed: Verdicts, node: NodeName) -> EnrolmentView:
    """The operator compared the fingerprint with the site. The same operator again changes nothing."""
    context, policy, operator = services.context, services.policy, signed.caller.name
    body = await whole(signed.request, signed.length, signed.digest, context.settings)
    told, (now, _) = read_json(NewApproval, body), now_and_seconds()
    try:
        async with context.database.writing() as session:
            enrolment = requested(session, node)
            approve(session, policy, enrolment, operator, told.fingerprint, now)
            view = _view(session, policy, enrolment)
    except Problem as problem:
        if problem.code == "fingerprint-differs":
            context.log.warning("fingerprint differs", node=node, caller=operator)
            async with context.database.writing() as session:
                report(session, "node-refused", node, operator, now, problem.code)
        raise
    return view


@router.post(
    "/nodes/{node}/suspension", status_code=204, response_class=Response, openapi_extra=json_body(Because)
)
async def suspension(services: Use, signed: Verdicts, node: NodeName) -> Response:
    """Hold a node back, at once, until it is resumed."""
    operator, reason = signed.caller.name, await _reason(services, signed)

    def change(session: Session, policy: Policy, now: datetime) -> None:
        suspend_node(session, policy, node, operator, reason, now)

    return await _changed(services, signed, node, change)


@router.delete("/nodes/{node}/suspension", status_code=204, response_class=Response)
async def resumption(services: Use, signed: Operator, node: NodeName) -> Response:
    """Let a suspended node take part again."""
    operator = signed.caller.name

    def change(session: Session, policy: Policy, now: datetime) -> None:
        resume_node(session, policy, node, operator, now)

    return await _changed(services, signed, node, change)


@router.post(
    "/nodes/{node}/revocation", status_code=204, response_class=Response, openapi_extra=json_body(Because)
)
async def revocation(services: Use, signed: Verdicts, node: NodeName) -> Response:
    """Refuse a node's keys, at once and for good, and what it asks for. It may be invited again with other keys."""
    operator, reason = signed.caller.name, await _reason(services, signed)

    def change(session: Session, policy: Policy, now: datetime) -> None:
        revoke_node(session, policy, node, operator, reason, now)

    return await _changed(services, signed, node, change)


async def _reason(services: Services, signed: Signed) -> str:
    body = await whole(signed.request, signed.length, signed.digest, services.context.settings)
    return read_json(Because, body).reason


async def _changed(services: Services, signed: Signed, node: str, change: Change) -> Response:
    """Durable first, then in force for every request that comes, and for every one that waits."""
    context, (now, _) = services.context, now_and_seconds()
    async with context.database.writing() as session:
        change(session, services.policy, now)
    await services.callers_changed()
    context.log.info("membership changed", node=node, operator=signed.caller.name)
    return Response(status_code=204)


def _view(session: Session, policy: Policy, enrolment: Enrolment) -> EnrolmentView:
    state = standing(session, policy, enrolment.node, enrolment.identity_key, enrolment)
    return EnrolmentView(
        node=enrolment.node,
        kind=enrolment.kind,
        state=state.state,
        reason=state.reason,
        approvals=approvers(session, policy, enrolment),
        needed=state.needed,
        requested=moment(enrolment.requested),
        digest=enrolment.digest.hex(),
    )
