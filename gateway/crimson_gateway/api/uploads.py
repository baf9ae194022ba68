"""What nodes send: endorsements, masked vectors, control messages. Nothing is acknowledged before it is durable."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response
from sqlalchemy.orm import Session

from crimson_gateway import shelves
from crimson_gateway.api.mail import RoundId
from crimson_gateway.api.services import (
    ENDORSEMENT_CAP,
    PROBLEMS,
    Services,
    Use,
    existing,
    node_index,
    signed_by,
    takes,
)
from crimson_gateway.authentication import Signed
from crimson_gateway.authentication.callers import NODE
from crimson_gateway.bodies import arriving, whole
from crimson_gateway.context import utc_now
from crimson_gateway.driver.phases import KINDS, RUNNING
from crimson_gateway.problems import Problem
from crimson_gateway.store.rounds import round_by_id
from crimson_gateway.store.tables import Round
from crimson_gateway.store.uploads import (
    MOST_CONTROLS,
    MOST_ENDORSEMENTS,
    MOST_PAYLOADS,
    add_payload,
    add_upload,
    known_payload,
    known_upload,
    payloads_of,
    uploads_of,
)
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import web
from crimson_protocol.wire.envelope import Envelope
from crimson_protocol.wire.messages.endorse import Endorse
from crimson_protocol.wire.messages.submit import Submit
from crimson_protocol.wire.records import Record
from crimson_protocol.wire.table import BY_RECORD, Role, parse_body, parse_envelope

SUBMIT, ENDORSE = BY_RECORD[Submit].kind, BY_RECORD[Endorse].kind
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Envelopes = Annotated[Signed, signed_by((NODE,), lambda services: services.control_cap)]
Endorsements = Annotated[Signed, signed_by((NODE,), lambda _: ENDORSEMENT_CAP)]
Vectors = Annotated[Signed, signed_by((NODE,), lambda services: services.vector_cap)]

router = APIRouter(prefix="/v1", tags=["uploads"], responses=PROBLEMS)


@router.post(
    "/endorsements",
    status_code=202,
    response_class=Response,
    openapi_extra=takes(web.CBOR, "A signed Endorse envelope"),
)
async def endorsements(services: Use, signed: Endorsements) -> Response:
    """The node vouches for the enclave's instance."""
    context, node = services.context, node_index(signed)
    body = await whole(signed.request, signed.length, signed.digest, context.settings)
    _checked(services, node, body, frozenset({ENDORSE}))
    async with context.database.reading() as session:
        # Looked at before a byte is kept, so that a quota bounds the disk as well.
        _endorsement_quota(session, node, signed.digest)
    await context.spool.put(shelves.ENDORSEMENTS, body)
    async with context.database.writing() as session:
        if not _endorsement_quota(session, node, signed.digest):
            add_upload(session, None, 0, node, ENDORSE, signed.digest, len(body), None, utc_now())
    context.wake()
    return Response(status_code=202)


@router.put(
    "/rounds/{round_id}/payloads/{digest}",
    status_code=201,
    response_class=Response,
    responses={200: {"description": "It was there already"}},
    openapi_extra=takes(web.OCTETS, "The packed masked vector"),
)
async def payloads(services: Use, signed: Vectors, round_id: RoundId, digest: Digest) -> Response:
    """A masked vector, named by its SHA-256. It is streamed to disk and never held whole."""
    context, node, name = services.context, node_index(signed), signed.digest
    if name.hex() != digest:
        raise Problem("digest-differs", "path and Content-Digest name different bodies")
    async with context.database.reading() as session:
        round_ = _in_phase(round_by_id(session, round_id), SUBMIT)
        known = _payload_quota(session, round_, node, name)
    _exact_length(services, round_, signed.length)
    shelf = shelves.uploads(round_.id, round_.attempt)
    async with context.spool.receive(signed.length) as incoming:
        async for chunk in arriving(signed.request, signed.length, context.settings):
            await incoming.feed(chunk)
        await incoming.keep(shelf, name)
    if not known:
        await _note_payload(services, round_, node, signed)
    context.metrics.received.inc(signed.length)
    return Response(status_code=200 if known else 201)


@router.post(
    "/rounds/{round_id}/envelopes",
    status_code=202,
    response_class=Response,
    openapi_extra=takes(web.CBOR, "A signed control envelope"),
)
async def envelopes(services: Use, signed: Envelopes, round_id: RoundId) -> Response:
    """A control message of the running attempt. The vector that a Submit announces must be there before it."""
    context, node = services.context, node_index(signed)
    body = await whole(signed.request, signed.length, signed.digest, context.settings)
    async with context.database.reading() as session:
        if known_upload(session, round_id, node, signed.digest) is not None:
            return Response(status_code=202)
        round_ = existing(round_by_id(session, round_id))
        kinds = frozenset().union(*KINDS.values())
        envelope, message = _checked(services, node, body, kinds)
        _in_phase(round_, envelope.kind)
        _control_quota(session, round_, node, signed.digest)
        payload = _announced(session, round_, node, message)
    await context.spool.put(shelves.uploads(round_.id, round_.attempt), body)
    async with context.database.writing() as session:
        now = _in_phase(round_by_id(session, round_id), envelope.kind)
        if now.attempt != round_.attempt:
            raise Problem("wrong-phase", "the attempt is over")
        if not _control_quota(session, now, node, signed.digest):
            add_upload(
                session,
                round_id,
                now.attempt,
                node,
                envelope.kind,
                signed.digest,
                len(body),
                payload,
                utc_now(),
            )
    context.metrics.received.inc(len(body))
    context.wake()
    return Response(status_code=202)


async def _note_payload(services: Services, round_: Round, node: int, signed: Signed) -> None:
    """The row that makes a stored vector count; without it the file goes again."""
    context, digest = services.context, signed.digest
    try:
        async with context.database.writing() as session:
            now = _in_phase(round_by_id(session, round_.id), SUBMIT)
            if now.attempt != round_.attempt:
                raise Problem("wrong-phase", "the attempt is over")
            if not _payload_quota(session, now, node, digest):
                add_payload(session, now.id, now.attempt, node, digest, signed.length, utc_now())
    except BaseException:
        context.spool.remove(shelves.uploads(round_.id, round_.attempt), digest)
        raise


def _checked(services: Services, node: int, body: bytes, kinds: frozenset[int]) -> tuple[Envelope, Record]:
    """Envelope and message under this node's own signature: what no node signed is not passed on."""
    policy = services.policy
    nodes = len(policy.roster)
    try:
        envelope, message = parse_envelope(body, Role.NODE, nodes)
        if envelope.sender != node:
            raise PeerFault(Refusal.UNKNOWN_NODE, "the envelope is another node's")
        if envelope.kind not in kinds:
            raise PeerFault(Refusal.WRONG_CONTEXT, "the message belongs to another path")
        envelope.verify(policy.roster[node].identity_key)
        return envelope, parse_body(envelope, message, nodes)
    except PeerFault as fault:
        raise Problem("wrong-envelope", fault.code.value) from fault


def _in_phase(round_: Round | None, kind: int) -> Round:
    """The round, if it is in the phase that takes messages of this kind."""
    round_ = existing(round_)
    if round_.state in web.OVER:
        raise Problem("round-over", f"it is {round_.state}")
    if kind not in KINDS.get(RUNNING.get(round_.state, ""), ()):
        raise Problem("wrong-phase", f"the round is {round_.state}")
    return round_


def _exact_length(services: Services, round_: Round, length: int) -> None:
    # The attempt keeps the policy under which it was opened.
    expected = round_.vector_length or services.vector_lengths.get(round_.model, 0)
    text = f"vectors of this round have exactly {expected} bytes"
    if length > expected:
        raise Problem("body-too-large", text)
    if length < expected:
        raise Problem("body-too-short", text)


def _payload_quota(session: Session, round_: Round, node: int, digest: bytes) -> bool:
    """Whether the vector is there already; Problem(quota) where it would be one too many."""
    there = payloads_of(session, round_.id, round_.attempt, node)
    if digest not in there and len(there) >= MOST_PAYLOADS:
        raise Problem("quota", f"at most {MOST_PAYLOADS} vectors an attempt")
    return digest in there


def _control_quota(session: Session, round_: Round, node: int, digest: bytes) -> bool:
    """Whether the message is there already; Problem(quota) where it would be one too many."""
    there = uploads_of(session, round_.id, round_.attempt, node)
    if digest not in there and len(there) >= MOST_CONTROLS:
        raise Problem("quota", f"at most {MOST_CONTROLS} messages an attempt")
    return digest in there


def _endorsement_quota(session: Session, node: int, digest: bytes) -> bool:
    """Whether the endorsement is there already; Problem(quota) where it would be one too many."""
    if known_upload(session, None, node, digest) is not None:
        return True
    if len(uploads_of(session, None, 0, node)) >= MOST_ENDORSEMENTS:
        raise Problem("quota", f"at most {MOST_ENDORSEMENTS} endorsements wait for the enclave")
    return False


def _announced(session: Session, round_: Round, node: int, message: Record) -> bytes | None:
    """Digest of the vector that a Submit announces."""
    if not isinstance(message, Submit):
        return None
    payload = known_payload(session, round_.id, round_.attempt, node, message.digest)
    if payload is None or payload.length != message.length:
        raise Problem("payload-missing")
    return message.digest
