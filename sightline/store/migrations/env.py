"""Alembic's entry point. ``store.migrate`` hands over a connection whose transaction holds the lock."""

from alembic import context

from sightline.store.schema import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
