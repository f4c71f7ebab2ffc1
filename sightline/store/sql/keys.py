"""The keys of the HTTP API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Row, Table, delete, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from sightline.errors import ConflictError, InputError, NotFoundError
from sightline.store.access import FIRST, Key, KeyScope, KnownKeys, check_end, check_key
from sightline.store.schema_access import KeyRow
from sightline.store.sql.installation import installation_id

KEYS = cast("Table", KeyRow.__table__)
_LIVING = KEYS.c.revoked_at.is_(None)


def create(
    connection: Connection,
    now: float,
    key_id: str,
    name: str,
    sha256: str,
    scope: KeyScope,
    collections: Sequence[str] | None,
    *,
    seconds: float | None = None,
    until: float | None = None,
    has_other: bool = True,
) -> Key:
    """Adds a key, without its secret. Raises InputError, and ConflictError when the name is taken.

    ``has_other``: an admin has a key in the settings; else the first one of the catalog must be an admin's.
    """
    check_key(name, scope, collections)
    expires_at = until if seconds is None else now + seconds
    check_end(expires_at, now)
    if not has_other and (scope != "admin" or collections is not None) and not _ever(connection):
        raise InputError(FIRST)
    if _named(connection, name) is not None:
        raise _taken(name)
    values = {
        "id": key_id,
        "name": name,
        "sha256": sha256,
        "scope": scope,
        "collections": None if collections is None else list(collections),
        "created_at": now,
        "expires_at": expires_at,
    }
    try:
        connection.execute(insert(KEYS).values(values))
    except IntegrityError as error:  # somebody else was faster since the question
        raise _taken(name) from error
    return _record(connection.execute(select(KEYS).where(KEYS.c.id == key_id)).one())


def known(connection: Connection, now: float) -> KnownKeys:
    """All that a server needs to judge a request, on the database's clock."""
    rows = connection.execute(select(KEYS).where(_LIVING)).all()
    ever = bool(rows) or _ever(connection)
    return KnownKeys(installation_id(connection), now, ever, tuple(map(_record, rows)))


def every(connection: Connection, *, revoked: bool = False) -> list[Key]:
    """By name, and those that are revoked only when asked for."""
    query = select(KEYS) if revoked else select(KEYS).where(_LIVING)
    return [_record(row) for row in connection.execute(query.order_by(KEYS.c.name, KEYS.c.created_at))]


def revoke(connection: Connection, now: float, name: str) -> Key:
    """From now on it opens nothing; NotFoundError."""
    found = _named(connection, name)
    if found is None:
        raise NotFoundError(f"There is no key {name!r}.")
    connection.execute(update(KEYS).where(KEYS.c.id == found.id, _LIVING).values(revoked_at=now))
    return _record(connection.execute(select(KEYS).where(KEYS.c.id == found.id)).one())


def clear(connection: Connection) -> int:
    """Forgets all keys, also those that are revoked, as if there had never been any; how many that were."""
    return connection.execute(delete(KEYS)).rowcount


def note_uses(connection: Connection, used: Mapping[str, float]) -> None:
    """key id → when it was used last, on the database's clock."""
    for key_id, moment in sorted(used.items()):
        later = or_(KEYS.c.last_used_at.is_(None), KEYS.c.last_used_at < moment)
        connection.execute(update(KEYS).where(KEYS.c.id == key_id, later).values(last_used_at=moment))


def _ever(connection: Connection) -> bool:
    return bool(connection.scalar(select(exists().select_from(KEYS))))


def _named(connection: Connection, name: str) -> Key | None:
    row = connection.execute(select(KEYS).where(KEYS.c.name == name, _LIVING)).one_or_none()
    return None if row is None else _record(row)


def _record(row: Row[Any]) -> Key:
    values = dict(row._mapping)
    bound = values.pop("collections")
    return Key(**values, collections=None if bound is None else tuple(bound))


def _taken(name: str) -> ConflictError:
    return ConflictError(f"There is a key {name!r} already: revoke it, or take another name for the new one.")
