"""A round remembers by which of the policy's strategies it was ordered."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; rounds before it went by the policy's first choice."""
    op.add_column("rounds", sa.Column("strategy", sa.String(length=32), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("rounds", "strategy")
