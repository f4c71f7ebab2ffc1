"""Collections."""

from __future__ import annotations

from sqlalchemy import Connection, Select, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from sightline.errors import ModelMismatchError
from sightline.store.records import Collection, Overview
from sightline.store.schema import (
    CollectionRow,
    FeatureSetRow,
    GenerationRow,
    ImageRow,
    PlacementRow,
    SegmentRow,
    SourceRow,
)
from sightline.store.schema_calibrations import CalibrationRow
from sightline.store.schema_duplicates import PictureHashRow
from sightline.store.schema_fields import MetadataFieldRow
from sightline.store.schema_texts import TextRow
from sightline.store.schema_work import JobRow, JobSeenRow, TaskItemRow, TaskRow
from sightline.store.sql.fields import forgetting
from sightline.store.sql.loose import release_sets
from sightline.store.sql.releasing import release
from sightline.store.sql.rows import (
    COLLECTIONS,
    FEATURE_SETS,
    SELECT_COLLECTIONS,
    bump_version,
    collection_named,
    collection_record,
)
from sightline.store.sql.saved import remove_all
from sightline.store.values import check_collection_name, check_text

IMAGE_STATES = ("live", "pending", "failed", "trashed", "buried")


def create(
    connection: Connection,
    now: float,
    name: str,
    *,
    model: str,
    revision: str | None,
    fingerprint: str,
    num_query_tokens: int,
    joint_dim: int,
) -> Collection:
    """Creates it, or returns the existing one with the same fingerprint, whose model now has this name.

    Raises InputError for a name that breaks the rule, and ModelMismatchError when the collection that has it
    is bound to another model.
    """
    model_of_it = {
        "model": model,
        "revision": revision,
        "fingerprint": fingerprint,
        "num_query_tokens": num_query_tokens,
        "joint_dim": joint_dim,
    }
    check_text("The collection's name", name)
    if not _exists(connection, name):
        check_collection_name(name)
        _insert(connection, now, name, model_of_it)
    found = collection_named(connection, name)
    if found.fingerprint != fingerprint:
        raise ModelMismatchError(
            f"Collection {name!r} was made with model {found.model!r} ({found.fingerprint[:12]}), "
            f"not with {model!r} ({fingerprint[:12]}): use that model or another collection."
        )
    if (found.model, found.revision) == (model, revision):
        return found
    _moved(connection, found, model, revision)
    return collection_named(connection, name)


def _moved(connection: Connection, collection: Collection, model: str, revision: str | None) -> None:
    """The same weights under another name: that is where they are from now on."""
    here = update(FEATURE_SETS).where(FEATURE_SETS.c.id == collection.feature_set_id)
    connection.execute(here.values(model=model, revision=revision))
    bump_version(connection, collection.id)


def _exists(connection: Connection, name: str) -> bool:
    return connection.scalar(select(CollectionRow.id).where(CollectionRow.name == name)) is not None


def _insert(connection: Connection, now: float, name: str, model: dict[str, str | int | None]) -> None:
    """With the feature set that serves; nothing when somebody else was faster."""
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    new = upsert(COLLECTIONS).values(name=name, version=0, created_at=now)
    made = new.on_conflict_do_nothing(index_elements=["name"]).returning(COLLECTIONS.c.id)
    collection_id = connection.scalar(made)
    if collection_id is not None:
        values = {**model, "collection_id": collection_id, "serving": True, "created_at": now}
        connection.execute(insert(FEATURE_SETS).values(values))


def every(connection: Connection, *, trashed: bool = False) -> list[Collection]:
    """All collections by name; those in the trash, whose names are their ids there, only when asked for."""
    query = SELECT_COLLECTIONS if trashed else SELECT_COLLECTIONS.where(CollectionRow.trashed_at.is_(None))
    rows = connection.execute(query.order_by(CollectionRow.name)).all()
    return [collection_record(row) for row in rows]


def counts(connection: Connection, name: str) -> dict[str, int]:
    """live, pending, failed, trashed, buried (images), segments and their bytes (published ones)."""
    return counts_of(connection, collection_named(connection, name).id)


def counts_of(connection: Connection, collection_id: int) -> dict[str, int]:
    """The same by number, even of a collection in the trash."""
    states = (
        select(ImageRow.state, func.count())
        .where(ImageRow.collection_id == collection_id)
        .group_by(ImageRow.state)
    )
    found: dict[str, int] = dict(connection.execute(states).all())
    segments = select(func.count(), func.coalesce(func.sum(SegmentRow.bytes), 0)).where(
        SegmentRow.feature_set_id.in_(_feature_sets(collection_id)), SegmentRow.state == "published"
    )
    number, size = connection.execute(segments).one()
    images = {state: found.get(state, 0) for state in IMAGE_STATES}
    return {**images, "segments": number, "bytes": int(size)}


def overview(connection: Connection) -> list[Overview]:
    """All collections by name with what they hold, in as many statements for a thousand as for one."""
    states = select(ImageRow.collection_id, ImageRow.state, func.count()).group_by(
        ImageRow.collection_id, ImageRow.state
    )
    images: dict[int, dict[str, int]] = {}
    for number, state, count in connection.execute(states):
        images.setdefault(number, {})[state] = count
    sizes, generations = _segment_sizes(connection), _generations(connection)
    found = []
    for one in every(connection):
        number, covered = generations.get(one.feature_set_id, (0, 0))
        count, size = sizes.get(one.id, (0, 0))
        counts = {state: images.get(one.id, {}).get(state, 0) for state in IMAGE_STATES}
        found.append(Overview(one, {**counts, "segments": count, "bytes": size}, number, covered))
    return found


def serving_generations(connection: Connection) -> list[tuple[Collection, int]]:
    """All collections by name, each with the number of its generation that serves (0: none)."""
    generations = _generations(connection)
    return [(one, generations.get(one.feature_set_id, (0, 0))[0]) for one in every(connection)]


def _generations(connection: Connection) -> dict[int, tuple[int, int]]:
    """Number and images of what serves, by feature set."""
    columns = (GenerationRow.feature_set_id, GenerationRow.number, GenerationRow.images)
    serving = connection.execute(select(*columns).where(GenerationRow.serving))
    return {row.feature_set_id: (row.number, row.images) for row in serving}


def _segment_sizes(connection: Connection) -> dict[int, tuple[int, int]]:
    """How many published segments each collection has, and their bytes; of all its feature sets."""
    query = (
        select(FeatureSetRow.collection_id, func.count(), func.sum(SegmentRow.bytes))
        .join(SegmentRow, SegmentRow.feature_set_id == FeatureSetRow.id)
        .where(SegmentRow.state == "published")
        .group_by(FeatureSetRow.collection_id)
    )
    return {number: (count, int(size)) for number, count, size in connection.execute(query)}


def remove(connection: Connection, now: float, collection_id: int) -> None:
    """Removes all its rows, in the trash or not; the builder removes its files after their time of grace.

    A worker that holds a lease finds its task gone and publishes nothing.
    """
    connection.execute(select(CollectionRow.id).where(CollectionRow.id == collection_id).with_for_update())
    release(connection, now, [ImageRow.collection_id == collection_id])
    release_sets(connection, now, _feature_sets(collection_id))
    _remove_children(connection, collection_id)
    remove_all(connection, collection_id)
    for table in (
        CalibrationRow, TextRow, MetadataFieldRow, ImageRow, SourceRow, TaskRow, JobRow, FeatureSetRow,
    ):  # fmt: skip
        connection.execute(delete(table).where(table.collection_id == collection_id))
    connection.execute(delete(CollectionRow).where(CollectionRow.id == collection_id))


def _remove_children(connection: Connection, collection_id: int) -> None:
    """Rows that know the collection only through what they belong to."""
    keys = select(ImageRow.key).where(ImageRow.collection_id == collection_id)
    jobs = select(JobRow.id).where(JobRow.collection_id == collection_id)
    tasks = select(TaskRow.id).where(TaskRow.collection_id == collection_id)
    connection.execute(delete(JobSeenRow).where(JobSeenRow.job_id.in_(jobs)))
    connection.execute(delete(TaskItemRow).where(TaskItemRow.task_id.in_(tasks)))
    connection.execute(delete(PlacementRow).where(PlacementRow.key.in_(keys)))
    connection.execute(forgetting(keys))
    connection.execute(delete(PictureHashRow).where(PictureHashRow.key.in_(keys)))
    for table in (GenerationRow, SegmentRow):
        connection.execute(delete(table).where(table.feature_set_id.in_(_feature_sets(collection_id))))


def _feature_sets(collection_id: int) -> Select[int]:
    return select(FeatureSetRow.id).where(FeatureSetRow.collection_id == collection_id)
