"""Files of ours that no row of a segment or generation names: how long they have been seen so, and their end.

Time here is what was observed, not what a clock says: an age grows from one look to the next, by a quarter of
the patience at most. So a clock that jumps, and a builder that lives for a minute only, change nothing much:
five looks at least stand between the first sight of a file and its end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, delete, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from sightline.store.durable import FileMissingError
from sightline.store.own_files import SEGMENT_KIND
from sightline.store.schema import GenerationRow, SegmentRow
from sightline.store.schema_upkeep import LooseFileRow
from sightline.store.sql.rows import LOOSE_FILES, chunks, update_many

LOOKS = 4
"""An age grows by this part of the patience at most."""


def admit(connection: Connection, file: str) -> None:
    """A row is about to name this file: it is no stray any more.

    Raises:
        FileMissingError: the builder has set it aside, or is about to delete it.
    """
    this = LooseFileRow.name == file
    connection.execute(delete(LooseFileRow).where(this, LooseFileRow.state == "stray"))
    if connection.scalar(select(LooseFileRow.state).where(this)) is not None:
        raise FileMissingError(
            f"The file {file} was set aside before it was published, so its images are embedded again."
        )


def release_files(connection: Connection, now: float, kind: str, files: Iterable[str]) -> None:
    """The rows that named these files are gone, on purpose: the files go after their time of grace."""
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = {"kind": kind, "state": "released", "seen_at": now, "age": 0.0}
    statement = upsert(LOOSE_FILES)
    again = statement.on_conflict_do_update(index_elements=["name"], set_=row)
    update_many(connection, again, [{"name": name, **row} for name in sorted(files)])


def release_sets(connection: Connection, now: float, feature_sets: Select[int]) -> None:
    """All files of these feature sets, whose rows are about to go."""
    segments = select(SegmentRow.file).where(SegmentRow.feature_set_id.in_(feature_sets))
    release_files(connection, now, SEGMENT_KIND, list(connection.scalars(segments)))
    release_generations(connection, now, GenerationRow.feature_set_id.in_(feature_sets))


def release_generations(connection: Connection, now: float, *where: ColumnElement[bool]) -> None:
    """All files of these generations, whose rows are about to go."""
    for kind, names in names_by_kind(connection, *where).items():
        release_files(connection, now, kind, names)


def names_by_kind(connection: Connection, *where: ColumnElement[bool]) -> dict[str, set[str]]:
    """Kind → the names of all files of these generations."""
    found: dict[str, set[str]] = {}
    columns = select(GenerationRow.kind, GenerationRow.file, GenerationRow.parameters)
    for kind, file, parameters in connection.execute(columns.where(*where)).all():
        found.setdefault(kind, set()).update(names_of(file, parameters))
    return found


def names_of(file: str, parameters: Mapping[str, Any]) -> set[str]:
    """All files that a generation needs: its own, and those that its backend names beside it."""
    return {file, *(str(name) for name in parameters.get("files") or ())}


def released_files(connection: Connection, now: float, kind: str, seconds: float) -> list[str]:
    """Files of a kind that were released so long ago."""
    query = select(LooseFileRow.name).where(
        LooseFileRow.kind == kind, LooseFileRow.state == "released", LooseFileRow.seen_at <= now - seconds
    )
    return list(connection.scalars(query.order_by(LooseFileRow.name)))


def loose_files(connection: Connection, kind: str, state: str) -> set[str]:
    """Files of a kind that are in that state."""
    where = (LooseFileRow.kind == kind, LooseFileRow.state == state)
    return set(connection.scalars(select(LooseFileRow.name).where(*where)))


def observe(
    connection: Connection, now: float, kind: str, state: str, names: Collection[str], patience: float
) -> list[str]:
    """All files of a kind that are seen in that state now; those that have been for as long as ``patience``.

    What is not seen any more begins anew when it is seen again.
    """
    where = (LooseFileRow.kind == kind, LooseFileRow.state == state)
    rows = connection.execute(select(LOOSE_FILES).where(*where)).all()
    gone = [row.name for row in rows if row.name not in names]
    forget_loose(connection, gone)
    most = patience / LOOKS
    ages = {row.name: row.age + min(max(now - row.seen_at, 0.0), most) for row in rows if row.name in names}
    statement = update(LOOSE_FILES).where(LOOSE_FILES.c.name == bindparam("the_name"))
    statement = statement.values(seen_at=now, age=bindparam("the_age"))
    update_many(connection, statement, [{"the_name": name, "the_age": age} for name, age in ages.items()])
    _begin(connection, now, kind, state, sorted(set(names) - ages.keys()))
    return sorted(name for name, age in ages.items() if age >= patience)


def _begin(connection: Connection, now: float, kind: str, state: str, names: Collection[str]) -> None:
    """First seen in this state; what stands in another one keeps it."""
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = {"kind": kind, "state": state, "seen_at": now, "age": 0.0}
    new = [{"name": name, **row} for name in names]
    update_many(connection, upsert(LOOSE_FILES).on_conflict_do_nothing(), new)


def sweep_files(connection: Connection, now: float, names: Iterable[str]) -> list[str]:
    """Strays that are to be set aside: those of the names that nobody publishes meanwhile.

    Before a file is moved. Whoever publishes it at the same time waits for this row, or this for them.
    """
    taken: list[str] = []
    named = set().union(*names_by_kind(connection).values())
    published = exists().where(SegmentRow.file == LooseFileRow.name)
    for chunk in chunks(set(names) - named):
        where = (LooseFileRow.name.in_(chunk), LooseFileRow.state == "stray", ~published)
        statement = update(LooseFileRow).where(*where).values(state="swept", seen_at=now, age=0.0)
        taken += connection.scalars(statement.returning(LooseFileRow.name))
    return sorted(taken)


def forget_loose(connection: Connection, names: Iterable[str]) -> None:
    """The files are gone, or named again."""
    for chunk in chunks(names):
        connection.execute(delete(LooseFileRow).where(LooseFileRow.name.in_(chunk)))
