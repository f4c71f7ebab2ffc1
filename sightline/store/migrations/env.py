"""Alembic's entry point. ``store.migrate`` hands over a connection whose transaction holds the lock."""

from alembic import context

from sightline.store.metadata import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
