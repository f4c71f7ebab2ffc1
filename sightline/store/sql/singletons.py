"""Leases of which there is one in the whole installation: the builder's."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, delete, insert, or_, update
from sqlalchemy.dialects import postgresql, sqlite

from sightline.store.schema import SingletonRow


def acquire(connection: Connection, now: float, name: str, owner: str, seconds: float) -> bool:
    """Takes a lease that is free, run out, or already the caller's."""
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = upsert(SingletonRow).values(name=name, owner=owner, expires_at=now + seconds)
    taken = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={"owner": owner, "expires_at": now + seconds},
        where=or_(SingletonRow.expires_at <= now, SingletonRow.owner == owner),
    )
    return connection.execute(taken.returning(SingletonRow.name)).first() is not None


def renew(connection: Connection, now: float, name: str, owner: str, seconds: float) -> bool:
    """False when the lease has run out or is another's."""
    mine = (SingletonRow.name == name, SingletonRow.owner == owner, SingletonRow.expires_at > now)
    statement = update(SingletonRow).where(*mine).values(expires_at=now + seconds)
    return connection.execute(statement).rowcount == 1


def release(connection: Connection, name: str, owner: str) -> None:
    """Gives the lease back; nothing when it is another's."""
    mine = (SingletonRow.name == name, SingletonRow.owner == owner)
    connection.execute(delete(SingletonRow).where(*mine))


def probe(connection: Connection) -> None:
    """Writes, and changes nothing: whether the catalog takes anything now.

    A row that comes and goes: SQLite does not write what is the same as before.
    """
    name = f"probe {uuid.uuid4()}"
    connection.execute(insert(SingletonRow).values(name=name, owner="probe", expires_at=0.0))
    connection.execute(delete(SingletonRow).where(SingletonRow.name == name))
