"""What only the builder does: the singleton lease, generations, merging and forgetting of segments."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, exists, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from sightline.errors import ConflictError
from sightline.store.records import Generation, NewSegment, Segment
from sightline.store.schema import GenerationRow, ImageRow, SegmentRow, SingletonRow
from sightline.store.sql.publishing import insert_segment, place, plain_segment
from sightline.store.sql.queries import current_generation
from sightline.store.sql.rows import (
    GENERATIONS,
    SEGMENTS,
    bump_version,
    chunks,
    lock_collection,
    plain_keys,
    segment_record,
)


def acquire_singleton(connection: Connection, now: float, name: str, owner: str, seconds: float) -> bool:
    """Takes a lease that is free, run out, or already the caller's."""
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = upsert(SingletonRow).values(name=name, owner=owner, expires_at=now + seconds)
    taken = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={"owner": owner, "expires_at": now + seconds},
        where=or_(SingletonRow.expires_at <= now, SingletonRow.owner == owner),
    )
    return connection.execute(taken.returning(SingletonRow.name)).first() is not None


def renew_singleton(connection: Connection, now: float, name: str, owner: str, seconds: float) -> bool:
    mine = (SingletonRow.name == name, SingletonRow.owner == owner, SingletonRow.expires_at > now)
    statement = update(SingletonRow).where(*mine).values(expires_at=now + seconds)
    return connection.execute(statement).rowcount == 1


def release_singleton(connection: Connection, name: str, owner: str) -> None:
    mine = (SingletonRow.name == name, SingletonRow.owner == owner)
    connection.execute(delete(SingletonRow).where(*mine))


def publish_generation(connection: Connection, expected_number: int, generation: Generation) -> bool:
    """False when another generation came first, or a segment that it was built from is retired meanwhile.

    The second matters: keys that a merge dropped would be in the index, and nobody would know them as dead.
    """
    collection_id = generation.collection_id
    if not lock_collection(connection, collection_id):
        return False
    current = current_generation(connection, collection_id)
    if (current.number if current is not None else 0) != expected_number:
        return False
    covered = sorted(set(plain_keys(generation.covered)))
    if _published(connection, collection_id, covered) != covered:
        return False
    connection.execute(delete(GenerationRow).where(GenerationRow.collection_id == collection_id))
    values = {**vars(generation), "covered": covered, "images": int(generation.images)}
    connection.execute(insert(GENERATIONS).values(values))
    _forget_dropped(connection, collection_id)
    bump_version(connection, collection_id)
    return True


def _published(connection: Connection, collection_id: int, segment_ids: Sequence[int]) -> list[int]:
    found: list[int] = []
    for chunk in chunks(segment_ids):
        query = select(SegmentRow.id).where(
            SegmentRow.id.in_(chunk),
            SegmentRow.collection_id == collection_id,
            SegmentRow.state == "published",
        )
        found.extend(connection.scalars(query))
    return sorted(found)


def _forget_dropped(connection: Connection, collection_id: int) -> None:
    """Dead keys that no file holds were only in the generation that was just replaced."""
    statement = update(ImageRow).where(
        ImageRow.collection_id == collection_id,
        ImageRow.state.in_(("buried", "discarded")),
        ImageRow.segment_id.is_not(None),
        ImageRow.row.is_(None),
    )
    connection.execute(statement.values(segment_id=None))


def replace_segments(
    connection: Connection, now: float, collection_id: int, old_ids: Sequence[int], new: NewSegment | None
) -> bool:
    """Moves the keys of ``old_ids`` to ``new`` and retires them; ``new`` is None when nothing in them lives.

    False when one of them is not published (any more) or a live key would be lost. Dead keys may be left
    out; those that the current generation still holds stay known as dead (without a row) until the next
    generation. ConflictError when the generation covers some of them but not all.
    """
    old = sorted(set(plain_keys(old_ids)))
    new = plain_segment(new) if new is not None else None
    if not lock_collection(connection, collection_id) or _published(connection, collection_id, old) != old:
        return False
    generation = current_generation(connection, collection_id)
    covered = _all_covered(generation, old)
    states = _states_in(connection, old)
    rows = {int(key): row for row, key in enumerate(new.keys)} if new is not None else {}
    if not rows.keys() <= states.keys() or any(
        state == "live" and key not in rows for key, state in states.items()
    ):
        return False
    new_id = insert_segment(connection, now, collection_id, new) if new is not None else None
    _move(connection, new_id, rows, [key for key in states if key not in rows], covered)
    _retire(connection, now, old)
    if generation is not None and covered:
        _cover(connection, generation, old, new_id)
    bump_version(connection, collection_id)
    return True


def _all_covered(generation: Generation | None, old: Sequence[int]) -> bool:
    covered = set(generation.covered) if generation is not None else set()
    inside = [segment_id for segment_id in old if segment_id in covered]
    if inside and len(inside) < len(old):
        raise ConflictError(
            "Segments that the generation covers cannot be merged with ones that it does not: "
            "their keys would be searched twice"
        )
    return bool(inside)


def _states_in(connection: Connection, segment_ids: Sequence[int]) -> dict[int, str]:
    """key → state of every image that lies in these segments."""
    found: dict[int, str] = {}
    for chunk in chunks(segment_ids):
        query = select(ImageRow.key, ImageRow.state).where(
            ImageRow.segment_id.in_(chunk), ImageRow.row.is_not(None)
        )
        found.update((key, state) for key, state in connection.execute(query))
    return found


def _move(
    connection: Connection, new_id: int | None, rows: dict[int, int], dropped: Sequence[int], covered: bool
) -> None:
    if new_id is not None:
        place(connection, new_id, list(rows.items()))
    for chunk in chunks(dropped):
        statement = update(ImageRow).where(ImageRow.key.in_(chunk))
        if not covered:
            connection.execute(statement.values(segment_id=None, row=None))
        elif new_id is None:
            connection.execute(statement.values(row=None))
        else:
            connection.execute(statement.values(segment_id=new_id, row=None))


def _retire(connection: Connection, now: float, segment_ids: Sequence[int]) -> None:
    for chunk in chunks(segment_ids):
        statement = update(SegmentRow).where(SegmentRow.id.in_(chunk))
        connection.execute(statement.values(state="retired", retired_at=now))


def _cover(connection: Connection, generation: Generation, old: Sequence[int], new_id: int | None) -> None:
    """The generation holds the keys of the merged segment already."""
    covered = sorted((set(generation.covered) - set(old)) | ({new_id} if new_id is not None else set()))
    statement = update(GENERATIONS).where(GENERATIONS.c.collection_id == generation.collection_id)
    connection.execute(statement.values(covered=covered))


def retired_segments(connection: Connection, before: float) -> list[Segment]:
    query = select(SEGMENTS).where(SegmentRow.state == "retired", SegmentRow.retired_at < before)
    return [segment_record(row) for row in connection.execute(query.order_by(SegmentRow.id))]


def forget_segments(connection: Connection, segment_ids: Sequence[int]) -> None:
    """Retired ones only. One that still names dead keys of the current generation stays until the next."""
    named = exists().where(ImageRow.segment_id == SegmentRow.id)
    for chunk in chunks(segment_ids):
        retired = (SegmentRow.id.in_(chunk), SegmentRow.state == "retired")
        connection.execute(delete(SegmentRow).where(*retired, ~named))


def segment_files(connection: Connection) -> set[str]:
    return set(connection.scalars(select(SegmentRow.file)))


def generation_files(connection: Connection) -> set[str]:
    return set(connection.scalars(select(GenerationRow.file)))
