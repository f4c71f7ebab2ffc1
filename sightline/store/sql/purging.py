"""Pictures that are to leave no trace: what SQL knows of them, and which are not through yet.

It begins with one transaction, after which nothing finds them and whoever comes next can go on: their rows
are emptied, and a row of ``purges`` stays for each until every file is rid of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)

from sightline.errors import InputError
from sightline.store.conditions import Filter
from sightline.store.full_text import FORGET
from sightline.store.records import EMBED, ENDED, Segment
from sightline.store.schema import (
    FeatureSetRow,
    GenerationRow,
    ImageRow,
    PlacementRow,
    SegmentRow,
    SourceRow,
)
from sightline.store.schema_duplicates import PictureHashRow
from sightline.store.schema_saved import SavedMemberRow
from sightline.store.schema_texts import TextRow
from sightline.store.schema_upkeep import PurgeRow, ReleasedBlobRow
from sightline.store.schema_work import JobRow, JobSeenRow, TaskItemRow, TaskRow
from sightline.store.sql.collections import remove
from sightline.store.sql.duplicates import forget_pairs
from sightline.store.sql.fields import forget_unused_fields, forget_values
from sightline.store.sql.filtering import filter_keys
from sightline.store.sql.loose import release_generations
from sightline.store.sql.releasing import IS_TRASHED
from sightline.store.sql.rows import (
    IMAGES,
    JOBS,
    PURGES,
    SELECT_SEGMENTS,
    bump_version,
    chunks,
    lock_collection,
    require_collection,
    segment_record,
)
from sightline.store.sql.saved import forget_members
from sightline.store.trash_records import Purge

EMPTY: dict[str, Any] = {
    "sha256": "",
    "uri": "",
    "caption": None,
    "metadata": {},
    "width": None,
    "height": None,
    "bytes": 0,
    "source_id": None,
    "reason": None,
    "detail": None,
}
"""What is left of an image's row."""


def begin(
    connection: Connection,
    now: float,
    collection_id: int,
    ids: Sequence[str] | None = None,
    filter: Filter | None = None,
    only_trashed: bool = False,
) -> set[str]:
    """Nothing finds these images any more, in whatever state and version; the ids that there were.

    A filter speaks of live images, whose other versions go too. ``only_trashed``: what is in the trash, of
    these ids or all (None); other versions stay.
    """
    if ids is None and filter is None and not only_trashed:
        raise InputError("Say which images to purge: ids, a filter, or both.")
    require_collection(connection, collection_id)
    here: list[ColumnElement[bool]] = [ImageRow.collection_id == collection_id]
    if only_trashed:
        here.append(IS_TRASHED)
    if filter is not None:
        ids = _matching(connection, collection_id, ids, filter)
    named = [None] if ids is None else [ImageRow.image_id.in_(some) for some in chunks(sorted(set(ids)))]
    gone: set[str] = set()
    for name in named:
        gone.update(_begin(connection, now, [*here, *([] if name is None else [name])]))
    bump_version(connection, collection_id)
    return gone


def _matching(
    connection: Connection, collection_id: int, ids: Sequence[str] | None, filter: Filter
) -> list[str]:
    found: list[str] = []
    for chunk in chunks(filter_keys(connection, collection_id, filter).tolist()):
        found += connection.scalars(select(ImageRow.image_id).where(ImageRow.key.in_(chunk)))
    return found if ids is None else sorted(set(ids).intersection(found))


def _begin(connection: Connection, now: float, where: Sequence[ColumnElement[bool]]) -> set[str]:
    columns = (ImageRow.key, ImageRow.image_id, ImageRow.collection_id, ImageRow.task_id)
    rows = connection.execute(select(*columns, ImageRow.job_id, ImageRow.source_id).where(*where)).all()
    tasks = {row.task_id for row in rows if row.task_id is not None}
    until = _take_back(connection, now, sorted(tasks | _owing(connection, [row.key for row in rows])))
    for some in chunks(rows):
        keys = [row.key for row in some]
        _note(connection, until, [ImageRow.key.in_(keys)])
        placed = update(PlacementRow).where(PlacementRow.key.in_(keys))
        connection.execute(placed.values(dead=True))
        _end(connection, now, keys)
        texts = {"reason": None, "detail": None}
        connection.execute(update(TaskItemRow).where(TaskItemRow.key.in_(keys)).values(texts))
        jobs = select(JobRow.id).where(JobRow.collection_id == some[0].collection_id)
        ids = [row.image_id for row in some]
        seen = (JobSeenRow.job_id.in_(jobs), JobSeenRow.image_id.in_(ids))
        connection.execute(delete(JobSeenRow).where(*seen))
    sources = {row.source_id for row in rows if row.source_id is not None}
    _forget_requests(connection, {row.job_id for row in rows if row.job_id is not None}, sources)
    gone = {row.image_id for row in rows}
    forget_unused_fields(connection, {row.collection_id for row in rows})
    _forget_names(connection, {row.collection_id for row in rows}, gone)
    return gone


def _forget_names(connection: Connection, collection_ids: set[int], image_ids: set[str]) -> None:
    """Jobs about chosen images (``ids`` in their requests) name them no more."""
    mine = (JobRow.collection_id.in_(sorted(collection_ids)), JobRow.kind != EMBED)
    for job_id, request in connection.execute(select(JobRow.id, JobRow.request).where(*mine)).all():
        named = request.get("ids") or []
        if not image_ids.isdisjoint(named):
            left = {**request, "ids": [name for name in named if name not in image_ids]}
            connection.execute(update(JOBS).where(JobRow.id == job_id).values(request=left))


def _forget_requests(connection: Connection, job_ids: set[str], source_ids: set[int]) -> None:
    """Sources and requests of jobs that were of purged images alone: they may name the file."""
    others = exists().where(ImageRow.job_id == JobRow.id, ImageRow.uri != "")
    addresses: set[str] = set()
    for chunk in chunks(sorted(source_ids)):
        unused = (SourceRow.id.in_(chunk), ~exists().where(ImageRow.source_id == SourceRow.id))
        addresses.update(connection.scalars(delete(SourceRow).where(*unused).returning(SourceRow.address)))
    ended = JobRow.state.in_(tuple(ENDED))
    for some in chunks(sorted(job_ids)):
        own = update(JOBS).where(JobRow.id.in_(some), ended, ~others)
        connection.execute(own.values(request={}, detail=None))
    if addresses:
        for job_id, request in connection.execute(select(JobRow.id, JobRow.request).where(ended)).all():
            if any(_names(text, addresses) for text in request.get("sources", ())):
                connection.execute(update(JOBS).where(JobRow.id == job_id).values(request={}, detail=None))


def _names(source: str, addresses: set[str]) -> bool:
    """Whether a source, as it was given, is at one of these addresses."""
    return any(
        address == source or address.endswith(f"/{source.removeprefix('./')}") for address in addresses
    )


def _owing(connection: Connection, keys: Sequence[int]) -> set[int]:
    """The tasks of other kinds than those that embed, which owe something for these images."""
    found: set[int] = set()
    for chunk in chunks(keys):
        owed = (TaskItemRow.key.in_(chunk), TaskItemRow.state == "pending")
        found.update(connection.scalars(select(TaskItemRow.task_id).where(*owed)))
    return found


def _take_back(connection: Connection, now: float, task_ids: Sequence[int]) -> float:
    """Ends the leases of tasks that hold one of the images: what their workers make of it is not taken.

    The tasks are free again, for the other images. Returns when the last of these leases would have ended.
    """
    until = now
    for chunk in chunks(task_ids):
        leased = (TaskRow.id.in_(chunk), TaskRow.state == "leased")
        ends = connection.scalar(select(func.max(TaskRow.lease_expires_at)).where(*leased))
        until = max(until, ends or 0.0)
        back = {"state": "ready", "owner": None, "lease_expires_at": None, "sent_at": None}
        connection.execute(update(TaskRow).where(*leased).values(back))
    return until


def _note(connection: Connection, until: float, where: Sequence[ColumnElement[bool]]) -> None:
    """What is noted already, with its SHA-256, stays as it is."""
    known = select(PurgeRow.key)
    rows = select(ImageRow.key, ImageRow.collection_id, ImageRow.sha256, literal(until))
    rows = rows.where(*where, ImageRow.key.not_in(known))
    connection.execute(insert(PURGES).from_select(["key", "collection_id", "sha256", "until"], rows))


def _end(connection: Connection, now: float, keys: Sequence[int]) -> None:
    these = ImageRow.key.in_(keys)
    connection.execute(delete(TextRow).where(TextRow.key.in_(keys)))
    forget_values(connection, keys)
    forget_members(connection, SavedMemberRow.key.in_(keys))
    connection.execute(delete(PictureHashRow).where(PictureHashRow.key.in_(keys)))
    found = update(ImageRow).where(these, ImageRow.state.in_(("live", "trashed")))
    connection.execute(found.values(state="buried", buried_at=now, trashed_at=None))
    others = update(ImageRow).where(these, ImageRow.state.in_(("pending", "failed")))
    connection.execute(others.values(state="discarded"))
    connection.execute(update(IMAGES).where(IMAGES.c.key.in_(keys)).values(EMPTY))


def begin_collection(connection: Connection, now: float, collection_id: int) -> None:
    """Removes all rows of a collection, in the trash or not, and notes all that was in it."""
    leased = (TaskRow.collection_id == collection_id, TaskRow.state == "leased")
    ends = connection.scalar(select(func.max(TaskRow.lease_expires_at)).where(*leased))
    _note(connection, max(now, ends or 0.0), [ImageRow.collection_id == collection_id])
    remove(connection, now, collection_id)


def outstanding(connection: Connection, until: float, after: int, limit: int) -> list[Purge]:
    """Pictures that may have left something, and of which no worker writes after ``until``.

    By key, from the one behind ``after`` on.
    """
    query = select(PURGES.c.key, PURGES.c.collection_id, PURGES.c.sha256, PURGES.c.until)
    due = query.where(PURGES.c.until <= until, PURGES.c.key > after).order_by(PURGES.c.key).limit(limit)
    return [Purge(*row) for row in connection.execute(due)]


def holding_segments(connection: Connection, collection_id: int, keys: Sequence[int]) -> list[Segment]:
    """The published segments of a collection that hold one of these keys."""
    found: set[int] = set()
    for chunk in chunks(keys):
        placed = (PlacementRow.key.in_(chunk), PlacementRow.segment_id.is_not(None))
        found.update(connection.scalars(select(PlacementRow.segment_id).where(*placed).distinct()))
    here = select(FeatureSetRow.id).where(FeatureSetRow.collection_id == collection_id)
    segments: list[Segment] = []
    for chunk in chunks(sorted(found)):
        rows = SELECT_SEGMENTS.where(SegmentRow.id.in_(chunk), SegmentRow.feature_set_id.in_(here))
        segments += [segment_record(row) for row in connection.execute(rows)]
    return segments


def placed_keys(connection: Connection, keys: Sequence[int]) -> set[int]:
    """Those of these keys that are in a published segment or in a generation."""
    found: set[int] = set()
    for chunk in chunks(keys):
        found.update(connection.scalars(select(PlacementRow.key).where(PlacementRow.key.in_(chunk))))
    return found


def drop_generation(connection: Connection, now: float, collection_id: int, feature_set_id: int) -> bool:
    """Forgets the generations of a feature set that has no segment; False when it has one (again).

    Files of theirs that hold no key (what was trained) go after their time of grace.
    """
    published = (SegmentRow.feature_set_id == feature_set_id, SegmentRow.state == "published")
    if not lock_collection(connection, collection_id) or connection.scalar(
        select(SegmentRow.id).where(*published).limit(1)
    ):
        return False
    mine = GenerationRow.feature_set_id == feature_set_id
    release_generations(connection, now, mine)
    connection.execute(delete(GenerationRow).where(mine))
    nowhere = (PlacementRow.feature_set_id == feature_set_id, PlacementRow.row.is_(None))
    connection.execute(delete(PlacementRow).where(*nowhere))
    bump_version(connection, collection_id)
    return True


def scrub(connection: Connection, keys: Sequence[int]) -> None:
    """Takes the ids of purged images, whose rows stay for the counts of their jobs, and words from the index.

    SQLite's full-text index keeps the words of rows that are gone until it is merged.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(FORGET)
    for chunk in chunks(keys):
        nameless = literal("purged-").concat(cast(ImageRow.key, String))
        gone = (ImageRow.key.in_(chunk), ImageRow.state.in_(("buried", "discarded")))
        connection.execute(update(ImageRow).where(*gone).values(image_id=nameless))
        shas = select(PURGES.c.sha256).where(PURGES.c.key.in_(chunk))
        forget_pairs(connection, shas)
        connection.execute(delete(ReleasedBlobRow).where(ReleasedBlobRow.sha256.in_(shas)))


def forget(connection: Connection, keys: Sequence[int]) -> None:
    """Nothing is left of these."""
    for chunk in chunks(keys):
        connection.execute(delete(PurgeRow).where(PurgeRow.key.in_(chunk)))
