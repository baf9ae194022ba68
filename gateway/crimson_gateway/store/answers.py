"""What an Idempotency-Key was answered with."""

from sqlalchemy import delete
from sqlalchemy.orm import Session

from crimson_gateway.store.tables import Answer

LIFETIME = 86_400
"""Seconds for which the same key gives the same answer."""


def known_answer(session: Session, key_id: str, key: str, now: int) -> Answer | None:
    """The answer that was given before."""
    answer = session.get(Answer, (key_id, key))
    return answer if answer is not None and answer.expires > now else None


def keep_answer(
    session: Session, key_id: str, key: str, request: bytes, status: int, body: bytes, now: int
) -> None:
    """Note an answer in the transaction that it reports; old ones go."""
    session.execute(delete(Answer).where(Answer.expires <= now))
    session.add(
        Answer(key_id=key_id, key=key, request=request, status=status, body=body, expires=now + LIFETIME)
    )
