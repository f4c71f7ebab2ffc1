"""Leases of which there is one in the whole installation: the builder's, that of a job's listing."""

from __future__ import annotations

import uuid

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from sightline.store.schema import SingletonRow
from sightline.store.sql.leases import ran_out
from sightline.store.sql.rows import SINGLETONS


def acquire(connection: Connection, now: float, name: str, owner: str, seconds: float) -> bool:
    """Takes a lease that is free, run out, or already the caller's."""
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = {"owner": owner, "expires_at": now + seconds, "seconds": seconds}
    statement = upsert(SingletonRow).values(name=name, **values)
    taken = statement.on_conflict_do_update(
        index_elements=["name"],
        set_=values,
        where=or_(free(now), SingletonRow.owner == owner),
    )
    return connection.execute(taken.returning(SingletonRow.name)).first() is not None


def free(now: float) -> ColumnElement[bool]:
    """Whether a lease has run out, also one that was given before the clock was put back."""
    return ran_out(SINGLETONS.c.expires_at, SINGLETONS.c.seconds, now)


def renew(connection: Connection, now: float, name: str, owner: str, seconds: float) -> bool:
    """False when the lease has run out or is another's."""
    mine = (SingletonRow.name == name, SingletonRow.owner == owner, SingletonRow.expires_at > now)
    statement = update(SingletonRow).where(*mine).values(expires_at=now + seconds, seconds=seconds)
    return connection.execute(statement).rowcount == 1


def is_held(connection: Connection, now: float, name: str) -> bool:
    """Whether somebody has the lease now. Asking leaves no trace."""
    held = exists().where(SINGLETONS.c.name == name, ~free(now))
    return bool(connection.scalar(select(held)))


def forget(connection: Connection, name: str) -> None:
    """Nobody needs it any more, whoever has it."""
    connection.execute(delete(SingletonRow).where(SingletonRow.name == name))


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
