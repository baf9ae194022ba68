"""Runs migrations on the connection that the database handed over."""

from alembic import context

from crimson_gateway.store.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
