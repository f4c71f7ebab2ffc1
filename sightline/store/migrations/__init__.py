"""Alembic migrations of the catalog; they travel with the package and run through ``store.migrate``."""
