"""Requests of sites: to join, to be listed with new keys, to leave; and where each stands."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy.orm import Session

from crimson_gateway.api.services import (
    PROBLEMS,
    Services,
    Use,
    binary,
    node_index,
    now_and_seconds,
    signed_by,
    takes,
)
from crimson_gateway.authentication import Signed
from crimson_gateway.authentication.callers import CANDIDATE, INVITED, NODE, OPERATOR
from crimson_gateway.bodies import whole
from crimson_gateway.enrolment.requests import Received, receive_join, receive_leave, receive_rotation
from crimson_gateway.enrolment.verdicts import standing
from crimson_gateway.problems import Problem
from crimson_gateway.store.enrolments import enrolment_by_digest, enrolment_of_key, open_enrolments
from crimson_gateway.store.invitations import invitation_of_key
from crimson_gateway.store.reports import report_once
from crimson_gateway.store.tables import Enrolment
from crimson_protocol.enrolment import MAX_REQUEST, EnrolmentState
from crimson_protocol.wire import web

# An invitation that is over is refused once its request was read, so that the refusal is noted.
Joins = Annotated[Signed, signed_by((INVITED, OPERATOR), lambda _: MAX_REQUEST, held=True)]
Members = Annotated[Signed, signed_by((NODE,), lambda _: MAX_REQUEST)]
Leavers = Annotated[Signed, signed_by((NODE,), lambda _: MAX_REQUEST, held=True)]
Themselves = Annotated[Signed, signed_by((NODE, CANDIDATE, INVITED), held=True)]
STATE = {**binary(web.CBOR, "An EnrolmentState"), **binary(web.CBOR, "The first answer to it", 201)}

router = APIRouter(prefix="/v1/enrolments", tags=["enrolments"], responses=PROBLEMS)


@router.post(
    "",
    response_class=Response,
    responses=STATE,
    openapi_extra=takes(web.CBOR, "A SignedJoin"),
    status_code=201,
)
async def join(services: Use, signed: Joins) -> Response:
    """A site asks to be listed; signed by its invitation's key, or by an operator who carries the request."""
    invitation_key = signed.caller.public if signed.caller.role == INVITED else None
    policy = services.policy

    def receive(session: Session, body: bytes, now: datetime) -> Received:
        return receive_join(session, policy, body, invitation_key, now)

    return await _received(services, signed, receive)


@router.post(
    "/rotation",
    response_class=Response,
    responses=STATE,
    openapi_extra=takes(web.CBOR, "A SignedRotation"),
    status_code=201,
)
async def rotation(services: Use, signed: Members) -> Response:
    """A member asks to be listed with new keys; until it is, it uses the old ones."""
    policy, member = services.policy, services.policy.roster[node_index(signed)]

    def receive(session: Session, body: bytes, now: datetime) -> Received:
        return receive_rotation(session, policy, body, member, now)

    return await _received(services, signed, receive)


@router.post(
    "/leave",
    response_class=Response,
    responses=STATE,
    openapi_extra=takes(web.CBOR, "A SignedLeave"),
    status_code=201,
)
async def leave(services: Use, signed: Leavers) -> Response:
    """A member leaves for good: its key is refused from now on, but to ask for its state or to hear this again."""
    policy, member = services.policy, services.policy.roster[node_index(signed)]

    def receive(session: Session, body: bytes, now: datetime) -> Received:
        return receive_leave(session, policy, body, member, now)

    return await _received(services, signed, receive)


@router.get("/self", response_class=Response, responses=binary(web.CBOR, "An EnrolmentState"))
async def own_state(services: Use, signed: Themselves) -> Response:
    """Where the caller's request stands; for a member, whether anything is held against it."""
    async with services.context.database.reading() as session:
        state = _own_state(session, services, signed)
    return Response(state.to_bytes(), media_type=web.CBOR)


async def _received(
    services: Services, signed: Signed, receive: Callable[[Session, bytes, datetime], Received]
) -> Response:
    """Check and store a request in one transaction, so that it is there whole or not at all."""
    context, policy = services.context, services.policy
    body = await whole(signed.request, signed.length, signed.digest, context.settings)
    now, _ = now_and_seconds()
    try:
        async with context.database.writing() as session:
            received = receive(session, body, now)
            enrolment = received.enrolment
            state = standing(session, policy, enrolment.node, enrolment.identity_key, enrolment)
    except Problem as problem:
        await _note_refusal(services, signed, problem, now)
        raise
    await services.callers_changed()
    context.log.info("enrolment", node=enrolment.node, kind=enrolment.kind, state=state.state)
    return Response(state.to_bytes(), 201 if received.fresh else 200, media_type=web.CBOR)


async def _note_refusal(services: Services, signed: Signed, problem: Problem, now: datetime) -> None:
    """Count, log and report a request that was refused. Whose it claims to be is not repeated: nobody proved it."""
    context, caller = services.context, signed.caller
    context.metrics.enrolments_refused.labels(problem.code).inc()
    context.log.warning("enrolment refused", caller=caller.name, role=caller.role, code=problem.code)
    async with context.database.writing() as session:
        subject, actor = caller.name, caller.name
        if caller.role == INVITED and (row := invitation_of_key(session, caller.public)) is not None:
            actor = row.digest.hex()
        elif caller.role == OPERATOR:
            subject = signed.digest.hex()
        report_once(session, "node-refused", subject, actor, now, problem.code)


def _own_state(session: Session, services: Services, signed: Signed) -> EnrolmentState:
    caller, policy = signed.caller, services.policy
    if caller.role == NODE:
        waiting = open_enrolments(session, caller.name)
        return standing(session, policy, caller.name, caller.public, waiting[0] if waiting else None)
    enrolment = _requested_by(session, signed)
    if enrolment is None:
        raise Problem("unknown-enrolment")
    return standing(session, policy, enrolment.node, enrolment.identity_key, enrolment)


def _requested_by(session: Session, signed: Signed) -> Enrolment | None:
    if signed.caller.role == CANDIDATE:
        return enrolment_of_key(session, signed.caller.public)
    row = invitation_of_key(session, signed.caller.public)
    return None if row is None or row.used_by is None else enrolment_by_digest(session, row.used_by)
