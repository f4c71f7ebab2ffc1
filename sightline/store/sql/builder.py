"""What only the builder does: generations, merging and forgetting of segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from sightline.errors import ConflictError
from sightline.store.records import Generation, NewSegment, Segment
from sightline.store.schema import FeatureSetRow, GenerationRow, ImageRow, PlacementRow, SegmentRow
from sightline.store.sql.loose import admit, names_by_kind, names_of, release_files
from sightline.store.sql.publishing import insert_segment, plain_segment
from sightline.store.sql.rows import (
    COLLECTIONS,
    GENERATIONS,
    PLACEMENTS,
    SELECT_SEGMENTS,
    bump_version,
    chunks,
    lock_collection,
    plain_keys,
    require_collection,
    segment_record,
    update_many,
)
from sightline.store.values import plain_json


def publish_generation(
    connection: Connection,
    now: float,
    collection_id: int,
    expected_number: int,
    generation: Generation,
    takes_over: bool = False,
) -> bool:
    """Puts a generation in the place of those of its kind; others stay. The first of a feature set serves.

    ``expected_number``: of the one of this kind that it was built after (0: none yet). ``takes_over``: it
    replaces those of all kinds, and serves; the number is then that of the one that served. False when
    another one came first, or a segment that it was built from is retired meanwhile. The second matters: keys
    that a merge dropped would be in the index, and nobody would know them as dead. Files of what is replaced
    are released, but for those that the new one names too.
    """
    feature_set_id = generation.feature_set_id
    if not lock_collection(connection, collection_id):
        return False
    if not _is_of(connection, feature_set_id, collection_id):
        raise ValueError("The generation is of another collection.")
    rivals: list[ColumnElement[bool]] = [GenerationRow.feature_set_id == feature_set_id]
    own = and_(GenerationRow.serving) if takes_over else GenerationRow.kind == generation.kind
    current = connection.scalar(select(func.max(GenerationRow.number)).where(*rivals, own)) or 0
    covered = sorted(set(plain_keys(generation.covered)))
    if current != expected_number or _published(connection, feature_set_id, covered) != covered:
        return False
    _replace(connection, now, generation, rivals if takes_over else [*rivals, own])
    _insert_generation(connection, generation, covered)
    _forget_dropped(connection, feature_set_id)
    bump_version(connection, collection_id)
    return True


def _replace(
    connection: Connection, now: float, generation: Generation, rivals: Sequence[ColumnElement[bool]]
) -> None:
    names = names_of(generation.file, generation.parameters)
    for name in sorted(names):
        admit(connection, name)
    replaced = names_by_kind(connection, *rivals)
    connection.execute(delete(GenerationRow).where(*rivals))
    for kind, files in replaced.items():
        release_files(connection, now, kind, files - names)


def note_generation(
    connection: Connection, collection_id: int, generation: Generation, parameters: Mapping[str, Any]
) -> bool:
    """Keeps something with a generation that serves; False when it does not (any more)."""
    if not lock_collection(connection, collection_id):
        return False
    this = (GENERATIONS.c.feature_set_id == generation.feature_set_id, GENERATIONS.c.file == generation.file)
    kept = update(GENERATIONS).where(*this, GENERATIONS.c.serving)
    noted = connection.execute(kept.values(parameters=plain_json({**generation.parameters, **parameters})))
    if noted.rowcount:
        bump_version(connection, collection_id)
    return bool(noted.rowcount)


def set_index_kind(connection: Connection, collection_id: int, kind: str | None) -> None:
    """What kind of index a collection is to have (None: what the installation says). NotFoundError.

    The builder builds it beside the one that serves; whoever asks checks that there is such a kind.
    """
    require_collection(connection, collection_id)
    this = update(COLLECTIONS).where(COLLECTIONS.c.id == collection_id)
    connection.execute(this.values(index_kind=kind))
    bump_version(connection, collection_id)


def _is_of(connection: Connection, feature_set_id: int, collection_id: int) -> bool:
    owner = select(FeatureSetRow.collection_id).where(FeatureSetRow.id == feature_set_id)
    return connection.scalar(owner) == collection_id


def _insert_generation(connection: Connection, generation: Generation, covered: list[int]) -> None:
    """It serves unless one of another kind does."""
    serving = (GenerationRow.feature_set_id == generation.feature_set_id, GenerationRow.serving)
    taken = connection.scalar(select(GenerationRow.id).where(*serving)) is not None
    values = {
        **vars(generation),
        "covered": covered,
        "images": int(generation.images),
        "parameters": plain_json(generation.parameters),
        "serving": not taken,
    }
    connection.execute(insert(GENERATIONS).values(values))


def _published(connection: Connection, feature_set_id: int, segment_ids: Sequence[int]) -> list[int]:
    found: list[int] = []
    for chunk in chunks(segment_ids):
        query = select(SegmentRow.id).where(
            SegmentRow.id.in_(chunk),
            SegmentRow.feature_set_id == feature_set_id,
            SegmentRow.state == "published",
        )
        found.extend(connection.scalars(query))
    return sorted(found)


def _forget_dropped(connection: Connection, feature_set_id: int) -> None:
    """Dead keys that no file holds were only in generations; those that may hold them are replaced by now."""
    older = exists().where(
        GenerationRow.feature_set_id == feature_set_id, GenerationRow.id <= PlacementRow.generation_id
    )
    dropped = (PlacementRow.feature_set_id == feature_set_id, PlacementRow.dead, PlacementRow.row.is_(None))
    connection.execute(delete(PlacementRow).where(*dropped, ~older))


def replace_segments(
    connection: Connection,
    now: float,
    collection_id: int,
    old_ids: Sequence[int],
    new: NewSegment | None,
    others: Sequence[NewSegment] = (),
    lost: Sequence[int] = (),
) -> bool:
    """Moves the keys of ``old_ids`` to ``new`` and retires them; ``new`` is None when nothing in them lives.

    False when one of them is not published (any more) or a key would be lost that is live or in the trash.
    Keys that are gone may be left out; those that a generation still holds stay known as dead (without a row)
    until it is replaced. ConflictError when a generation covers some of them but not all. ``others``: the
    keys may be spread over these too. ``lost``: keys that may be left out, because the caller ends them in
    this transaction.
    """
    old = sorted(set(plain_keys(old_ids)))
    made = [plain_segment(one) for one in (new, *others) if one is not None]
    feature_set_id = _feature_set_of(connection, collection_id, old)
    if feature_set_id is None or _published(connection, feature_set_id, old) != old:
        return False
    holders = _covering(connection, feature_set_id, old)
    gone = _gone_by_key(connection, old) | dict.fromkeys(plain_keys(lost), True)
    moved = {int(key) for one in made for key in one.keys}
    if not moved <= gone.keys() or not all(gone[key] or key in moved for key in gone):
        return False
    new_ids: set[int] = set()
    for one in made:
        new_id = insert_segment(connection, now, feature_set_id, one)
        _move(connection, feature_set_id, new_id, {int(key): row for row, key in enumerate(one.keys)})
        new_ids.add(new_id)
    _drop(connection, old, max(holders) if holders else None)
    _retire(connection, now, old)
    for generation_id, covered in holders.items():
        _cover(connection, generation_id, (covered - set(old)) | new_ids)
    bump_version(connection, collection_id)
    return True


def _feature_set_of(connection: Connection, collection_id: int, segment_ids: Sequence[int]) -> int | None:
    """That of these segments, with the collection locked; None when it is not one set of the collection."""
    if not lock_collection(connection, collection_id):
        return None
    found: set[int] = set()
    for chunk in chunks(segment_ids):
        sets = select(SegmentRow.feature_set_id).join(FeatureSetRow).where(SegmentRow.id.in_(chunk))
        found.update(connection.scalars(sets.where(FeatureSetRow.collection_id == collection_id).distinct()))
    return found.pop() if len(found) == 1 else None


def _covering(connection: Connection, feature_set_id: int, old: Sequence[int]) -> dict[int, set[int]]:
    """Generation id → the segments that it covers, of every generation that holds the keys of ``old``."""
    query = select(GenerationRow.id, GenerationRow.covered).where(
        GenerationRow.feature_set_id == feature_set_id
    )
    found: dict[int, set[int]] = {}
    for generation_id, covered in connection.execute(query):
        inside = set(old) & set(covered)
        if inside and len(inside) < len(old):
            raise ConflictError(
                "Segments that the generation covers cannot be merged with ones that it does not: "
                "their keys would be searched twice."
            )
        if inside:
            found[generation_id] = set(covered)
    return found


def _gone_by_key(connection: Connection, segment_ids: Sequence[int]) -> dict[int, bool]:
    """key → whether it never comes back, of every key that lies in these segments."""
    found: dict[int, bool] = {}
    placed = select(PlacementRow.key, ImageRow.state).join(ImageRow, ImageRow.key == PlacementRow.key)
    for chunk in chunks(segment_ids):
        rows = connection.execute(placed.where(PlacementRow.segment_id.in_(chunk)))
        found.update((key, state not in ("live", "trashed")) for key, state in rows)
    return found


def _move(connection: Connection, feature_set_id: int, new_id: int | None, rows: dict[int, int]) -> None:
    statement = update(PLACEMENTS).where(
        PLACEMENTS.c.key == bindparam("the_key"), PLACEMENTS.c.feature_set_id == feature_set_id
    )
    values: dict[str, Any] = {"segment_id": new_id, "row": bindparam("the_row")}
    parameters = [{"the_key": key, "the_row": row} for key, row in rows.items()]
    update_many(connection, statement.values(values), parameters)


def _drop(connection: Connection, old: Sequence[int], held_by: int | None) -> None:
    """What is still placed in the old segments did not move: dead keys, which at most generations hold."""
    for chunk in chunks(old):
        left: ColumnElement[bool] = PlacementRow.segment_id.in_(chunk)
        if held_by is None:
            connection.execute(delete(PlacementRow).where(left))
        else:
            nowhere = {"segment_id": None, "row": None, "generation_id": held_by}
            connection.execute(update(PlacementRow).where(left).values(nowhere))


def _retire(connection: Connection, now: float, segment_ids: Sequence[int]) -> None:
    for chunk in chunks(segment_ids):
        statement = update(SegmentRow).where(SegmentRow.id.in_(chunk))
        connection.execute(statement.values(state="retired", retired_at=now))


def _cover(connection: Connection, generation_id: int, covered: set[int]) -> None:
    """The generation holds the keys of the merged segment already."""
    statement = update(GENERATIONS).where(GENERATIONS.c.id == generation_id)
    connection.execute(statement.values(covered=sorted(covered)))


def retired_segments(connection: Connection, before: float) -> list[Segment]:
    """Segments retired before that time (epoch seconds): delete their files, then forget them."""
    query = SELECT_SEGMENTS.where(SegmentRow.state == "retired", SegmentRow.retired_at < before)
    return [segment_record(row) for row in connection.execute(query.order_by(SegmentRow.id)).all()]


def forget_segments(connection: Connection, segment_ids: Sequence[int]) -> None:
    """Removes the rows of retired segments once their files are gone; published ones stay."""
    for chunk in chunks(segment_ids):
        connection.execute(delete(SegmentRow).where(SegmentRow.id.in_(chunk), SegmentRow.state == "retired"))


def segment_files(connection: Connection) -> set[str]:
    """File names of all published and retired segments."""
    return set(connection.scalars(select(SegmentRow.file)))


def segment_sha256(connection: Connection, file: str) -> str | None:
    """What a segment file was written as; None when no row names it."""
    return connection.scalar(select(SegmentRow.sha256).where(SegmentRow.file == file))


def generation_files(connection: Connection) -> set[str]:
    """File names of all generations, serving or not: their own, and those that they need beside."""
    return set().union(*names_by_kind(connection).values())
