"""What nodes sent: control messages, vectors and endorsements, each acknowledged once its row is durable."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from crimson_gateway.store.put import put
from crimson_gateway.store.tables import Payload, Upload

MOST_CONTROLS, MOST_PAYLOADS, MOST_ENDORSEMENTS = 16, 2, 4
"""Per node: messages and vectors of one attempt, and endorsements that wait. An honest node needs fewer."""


def known_upload(session: Session, round_id: int | None, node: int, digest: bytes) -> Upload | None:
    """The same message, where it came before."""
    query = select(Upload).where(Upload.node == node, Upload.digest == digest, _round_is(round_id))
    return (session.scalars(query)).first()


def uploads_of(session: Session, round_id: int | None, attempt: int, node: int) -> Sequence[bytes]:
    """Digests of a node's messages in one attempt; of its endorsements, those that were not delivered yet."""
    query = select(Upload.digest).where(Upload.node == node, _round_is(round_id))
    query = query.where(Upload.delivered.is_(False) if round_id is None else Upload.attempt == attempt)
    return (session.scalars(query)).all()


def add_upload(
    session: Session,
    round_id: int | None,
    attempt: int,
    node: int,
    kind: int,
    digest: bytes,
    length: int,
    payload: bytes | None,
    now: datetime,
) -> None:
    """A message whose bytes are durable in the spool."""
    session.add(
        Upload(
            round_id=round_id,
            attempt=attempt,
            node=node,
            kind=kind,
            digest=digest,
            length=length,
            payload=payload,
            delivered=False,
            at=now,
        )
    )


def pending_uploads(session: Session, round_id: int | None, attempt: int) -> Sequence[Upload]:
    """Messages that the enclave has not dealt with, in the order in which they came."""
    query = (
        select(Upload)
        .where(_round_is(round_id), Upload.attempt == attempt, Upload.delivered.is_(False))
        .order_by(Upload.id)
    )
    return (session.scalars(query)).all()


def mark_delivered(session: Session, uploads: Sequence[int], outcome: str | None) -> None:
    """The enclave dealt with these (at least one), or they came too late to matter."""
    rows = [{"id": upload, "delivered": True, "outcome": outcome} for upload in uploads]
    session.execute(update(Upload), rows)


def accepted_upload(session: Session, round_id: int, attempt: int, node: int, kind: int) -> Upload | None:
    """The message of a kind that the enclave took from a node in this attempt."""
    query = (
        select(Upload)
        .where(
            Upload.round_id == round_id,
            Upload.attempt == attempt,
            Upload.node == node,
            Upload.kind == kind,
            Upload.outcome.is_(None),
        )
        # One whose delivery a crash cut off may have been taken; the first that came is the one that counts.
        .order_by(Upload.delivered.desc(), Upload.id)
        .limit(1)
    )
    return (session.scalars(query)).first()


def forget_endorsements(session: Session, node: int, keep: bytes) -> None:
    """A node's endorsements of earlier instances are not needed any more."""
    session.execute(
        delete(Upload).where(
            Upload.round_id.is_(None), Upload.node == node, Upload.delivered, Upload.digest != keep
        )
    )


def known_payload(session: Session, round_id: int, attempt: int, node: int, digest: bytes) -> Payload | None:
    """A vector that the node uploaded in this attempt."""
    payload = session.get(Payload, (round_id, node, digest))
    return payload if payload is not None and payload.attempt == attempt else None


def payloads_of(session: Session, round_id: int, attempt: int, node: int) -> Sequence[bytes]:
    """Digests of a node's vectors in one attempt."""
    query = select(Payload.digest).where(
        Payload.round_id == round_id, Payload.attempt == attempt, Payload.node == node
    )
    return (session.scalars(query)).all()


def add_payload(
    session: Session, round_id: int, attempt: int, node: int, digest: bytes, length: int, now: datetime
) -> None:
    """A vector whose bytes are durable in the spool."""
    key = {"round_id": round_id, "node": node, "digest": digest}
    put(session, Payload, key, {"attempt": attempt, "length": length, "at": now})


def _round_is(round_id: int | None):  # type: ignore[no-untyped-def]
    return Upload.round_id.is_(None) if round_id is None else Upload.round_id == round_id
