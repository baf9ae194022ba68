"""Invitations: an operator promises a site that it may ask to join, once."""

import time
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response
from pydantic import BaseModel

from crimson_gateway.api.services import (
    PROBLEMS,
    Operator,
    Use,
    moment,
    now_and_seconds,
    signed_by,
    takes,
)
from crimson_gateway.authentication import Signed
from crimson_gateway.authentication.callers import OPERATOR
from crimson_gateway.bodies import whole
from crimson_gateway.enrolment.promises import CAP, read_new, refuse_other, refuse_useless, state_of
from crimson_gateway.problems import Problem
from crimson_gateway.store.invitations import (
    add_invitation,
    invitation_by_digest,
    newest_invitations,
    revoke_invitation,
)
from crimson_gateway.store.reports import report
from crimson_gateway.store.tables import Invitation as Row
from crimson_protocol.enrolment import Invitation
from crimson_protocol.wire import web

MOST = 500
HEX32 = "^[0-9a-f]{64}$"
NewInvitations = Annotated[Signed, signed_by((OPERATOR,), lambda _: CAP)]

router = APIRouter(prefix="/v1", tags=["invitations"], responses=PROBLEMS)


class InvitationView(BaseModel):
    """An invitation as operators see it: `id` is its digest in hexadecimal."""

    id: str
    node: str
    organisation: str
    kind: str
    issuer: str
    issued: str
    expires: int
    state: str


class InvitationList(BaseModel):
    """The newest invitations."""

    invitations: list[InvitationView]


@router.post(
    "/invitations",
    status_code=201,
    response_model=InvitationView,
    openapi_extra=takes(web.CBOR, "A NewInvitation: the invitation and its public key"),
)
async def invite(services: Use, signed: NewInvitations) -> Response:
    """Let a site join, with a key that only its token holds. The same invitation again gives the same answer."""
    context, policy = services.context, services.policy
    body = await whole(signed.request, signed.length, signed.digest, context.settings)
    invitation, new = read_new(body)
    now, seconds = now_and_seconds()
    async with context.database.writing() as session:
        row = invitation_by_digest(session, invitation.digest())
        if row is None:
            refuse_other(
                invitation,
                policy,
                services.anchor,
                signed.caller.name,
                seconds,
                context.settings.invitation_hours,
            )
            refuse_useless(session, invitation, new.key, policy)
            row = add_invitation(
                session,
                invitation.digest(),
                new.key,
                new.invitation,
                node=invitation.node,
                issuer=invitation.issuer,
                expires=invitation.expires,
                now=now,
            )
            report(session, "invitation-issued", invitation.node, invitation.issuer, now)
        elif row.key != new.key:
            raise Problem("invitation-exists")
        answer = _view(row, seconds).model_dump_json().encode()
    await services.callers_changed()
    return Response(answer, 201, media_type="application/json")


@router.get("/invitations", response_model=InvitationList)
async def invitations(services: Use, _: Operator) -> InvitationList:
    """The newest invitations and what became of each."""
    async with services.context.database.reading() as session:
        rows = newest_invitations(session, MOST)
    seconds = int(time.time())
    return InvitationList(invitations=[_view(row, seconds) for row in rows])


@router.delete("/invitations/{digest}", status_code=204, response_class=Response)
async def revoke(services: Use, signed: Operator, digest: Annotated[str, Path(pattern=HEX32)]) -> Response:
    """Take an invitation back that nobody used yet."""
    now, _ = now_and_seconds()
    async with services.context.database.writing() as session:
        row = invitation_by_digest(session, bytes.fromhex(digest))
        if row is None:
            raise Problem("unknown-invitation")
        if row.used_by is not None:
            raise Problem("invitation-used", "revoke the node instead")
        if not row.revoked:
            revoke_invitation(session, row.digest)
            report(session, "invitation-revoked", row.node, signed.caller.name, now)
    await services.callers_changed()
    return Response(status_code=204)


def _view(row: Row, now: int) -> InvitationView:
    invitation = Invitation.from_bytes(row.record, len(row.record))
    return InvitationView(
        id=row.digest.hex(),
        node=row.node,
        organisation=invitation.organisation,
        kind=invitation.kind,
        issuer=row.issuer,
        issued=moment(row.at),
        expires=row.expires,
        state=state_of(row, now),
    )
