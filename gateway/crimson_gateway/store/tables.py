"""What the relay remembers. Every step of a round is driven through these tables, so any process may die."""

from datetime import UTC, datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import DateTime, TypeDecorator

from crimson_protocol.wire.web import GATHERING, OVER

STATES = (
    GATHERING,
    "advertising",
    "sharing",
    "submitting",
    "sketching",
    "confirming",
    "unmasking",
    *OVER,
)
"""Where a round stands: nodes report ready, then the phases of the running attempt, then how it ended."""


class UtcTime(TypeDecorator[datetime]):
    """A moment with its time zone, which SQLite by itself forgets."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """UTC without a zone, as every database stores it."""
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The same moment in UTC."""
        return value.replace(tzinfo=UTC) if value else None


class Base(DeclarativeBase):
    """Metadata of every table."""

    type_annotation_map = {datetime: UtcTime(), bytes: LargeBinary}  # noqa: RUF012


class Round(Base):
    """One round that an operator asked for. `number` and `attempt` are the enclave's, 0 until it opened.

    `waiting` names the nodes whose part is outstanding, as a JSON list. `version` grows with every change
    that an operator can see. `vector_length`: bytes of a vector, by the policy under which its attempt was opened.
    """

    __tablename__ = "rounds"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(64))
    strategy: Mapped[str | None] = mapped_column(String(32))
    number: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(String(16), default=GATHERING, index=True)
    code: Mapped[str | None] = mapped_column(String(64))
    offer_digest: Mapped[bytes | None]
    waiting: Mapped[str] = mapped_column(Text, default="[]")
    created: Mapped[datetime]
    phase_began: Mapped[datetime]
    deadline: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=0)
    vector_length: Mapped[int | None] = mapped_column(BigInteger)


class Ready(Base):
    """A node that trained for a round and waits for its offer."""

    __tablename__ = "ready"
    round_id: Mapped[int] = mapped_column(ForeignKey("rounds.id"), primary_key=True)
    node: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class Letter(Base):
    """A message of the enclave: to one node, or to all where `recipient` is null. Its bytes are in the spool."""

    __tablename__ = "letters"
    __table_args__ = (Index("letters_by_round", "round_id", "sequence"), {"sqlite_autoincrement": True})
    sequence: Mapped[int] = mapped_column(primary_key=True)
    round_id: Mapped[int] = mapped_column(ForeignKey("rounds.id"))
    attempt: Mapped[int]
    recipient: Mapped[int | None]
    kind: Mapped[int]
    digest: Mapped[bytes]
    length: Mapped[int]
    at: Mapped[datetime]


class Upload(Base):
    """A node's control message, acknowledged once this row and its spool file are durable.

    `round_id` is null for an endorsement. `delivered` once the enclave dealt with it; `outcome` is the
    refusal code it drew, if any. `payload` is the digest of the vector that a Submit announces.
    """

    __tablename__ = "uploads"
    __table_args__ = (UniqueConstraint("round_id", "node", "digest"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    round_id: Mapped[int | None] = mapped_column(ForeignKey("rounds.id"), index=True)
    attempt: Mapped[int] = mapped_column(default=0)
    node: Mapped[int]
    kind: Mapped[int]
    digest: Mapped[bytes]
    length: Mapped[int]
    payload: Mapped[bytes | None]
    delivered: Mapped[bool] = mapped_column(default=False)
    outcome: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[datetime]


class Payload(Base):
    """A masked vector in the spool, named by its SHA-256."""

    __tablename__ = "payloads"
    round_id: Mapped[int] = mapped_column(ForeignKey("rounds.id"), primary_key=True)
    node: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    length: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]


class Fault(Base):
    """Who broke which rule of a round, as the enclave found. `culprit` is a node id, "gateway" or null."""

    __tablename__ = "faults"
    id: Mapped[int] = mapped_column(primary_key=True)
    round_id: Mapped[int] = mapped_column(ForeignKey("rounds.id"), index=True)
    attempt: Mapped[int]
    culprit: Mapped[str | None] = mapped_column(String(64))
    code: Mapped[str] = mapped_column(String(64))


class Leaf(Base):
    """A leaf of the enclave's log, as it gave it out. Public."""

    __tablename__ = "leaves"
    index: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes]


class Published(Base):
    """The last Release of a model, in the spool."""

    __tablename__ = "published"
    model: Mapped[str] = mapped_column(String(64), primary_key=True)
    round: Mapped[int]
    digest: Mapped[bytes]


class Nonce(Base):
    """A nonce that a request was signed with; the same twice is a replay."""

    __tablename__ = "nonces"
    key_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    nonce: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires: Mapped[int] = mapped_column(index=True)


class Answer(Base):
    """What an Idempotency-Key was answered with."""

    __tablename__ = "answers"
    key_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    request: Mapped[bytes]
    status: Mapped[int]
    body: Mapped[bytes]
    expires: Mapped[int] = mapped_column(index=True)


class NodeSeen(Base):
    """When a node last spoke."""

    __tablename__ = "nodes_seen"
    node: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class Invitation(Base):
    """A site may join once, with the key named here. `record`: the invitation as its operator made it. `used_by`:
    SHA-256 of the one request that used it."""

    __tablename__ = "invitations"
    digest: Mapped[bytes] = mapped_column(primary_key=True)
    key: Mapped[bytes] = mapped_column(unique=True)
    record: Mapped[bytes]
    node: Mapped[str] = mapped_column(String(64), index=True)
    issuer: Mapped[str] = mapped_column(String(64))
    expires: Mapped[int] = mapped_column(BigInteger)
    used_by: Mapped[bytes | None]
    revoked: Mapped[bool] = mapped_column(default=False)
    at: Mapped[datetime]


class Enrolment(Base):
    """A request to join, to be listed with new keys, or to leave, with its exact bytes and their SHA-256.

    `identity_key` is the one asked for; for a leave, the one that goes.
    """

    __tablename__ = "enrolments"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    node: Mapped[str] = mapped_column(String(64), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    digest: Mapped[bytes] = mapped_column(unique=True)
    request: Mapped[bytes]
    identity_key: Mapped[bytes] = mapped_column(index=True)
    encryption_key: Mapped[bytes | None]
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str | None] = mapped_column(String(200))
    requested: Mapped[datetime]
    changed: Mapped[datetime]


class Approval(Base):
    """An operator compared a request's fingerprint with what the site read out."""

    __tablename__ = "approvals"
    enrolment_id: Mapped[int] = mapped_column(ForeignKey("enrolments.id"), primary_key=True)
    operator: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime]


class Suspension(Base):
    """What operators hold against a node before the policy says it: suspended, whatever its keys, or revoked, this key
    of it for good."""

    __tablename__ = "suspensions"
    node: Mapped[str] = mapped_column(String(64), primary_key=True)
    identity_key: Mapped[bytes] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    operator: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime]


class Report(Base):
    """A decision of this gateway, to be handed to the enclave's log. `number`: given once, before it is told."""

    __tablename__ = "reports"
    __table_args__ = (Index("reports_undelivered", "delivered", "id"), {"sqlite_autoincrement": True})
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(128), index=True)
    actor: Mapped[str] = mapped_column(String(64))
    code: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[datetime]
    number: Mapped[int | None] = mapped_column(BigInteger)
    delivered: Mapped[bool] = mapped_column(default=False)
