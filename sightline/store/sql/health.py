"""The catalog's invariants, as queries that must find nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select
from sqlalchemy.sql.selectable import Select

from sightline.store.records import EMBED
from sightline.store.schema import (
    CollectionRow,
    FeatureSetRow,
    GenerationRow,
    ImageRow,
    PlacementRow,
    SegmentRow,
)
from sightline.store.schema_texts import TextRow
from sightline.store.schema_work import JobRow, TaskItemRow, TaskRow
from sightline.store.sql.fields import differing
from sightline.store.sql.jobs import OPEN
from sightline.store.text_records import GIVEN

Check = Callable[[Connection], Iterator[str]]


def problems(connection: Connection) -> list[str]:
    """One sentence per broken invariant, with how often it is broken and one example."""
    checks: tuple[Check, ...] = (
        _feature_sets, _images, _placements, _rows, _segments, _tasks, _items, _jobs, _generations, _texts,
        _fields,
    )  # fmt: skip
    return [problem for check in checks for problem in check(connection)]


def _found(connection: Connection, query: Select[Any], sentence: str) -> Iterator[str]:
    """``query`` selects the ids of the offenders."""
    yield from _told(list(connection.scalars(query.limit(1_000))), sentence)


def _told(offenders: Sequence[object], sentence: str) -> Iterator[str]:
    if offenders:
        more = " or more" if len(offenders) == 1_000 else ""
        yield f"{sentence}: {len(offenders)}{more}, for example {offenders[0]}"


def _feature_sets(connection: Connection) -> Iterator[str]:
    serving = and_(FeatureSetRow.collection_id == CollectionRow.id, FeatureSetRow.serving)
    without = select(CollectionRow.id).outerjoin(FeatureSetRow, serving).where(FeatureSetRow.id.is_(None))
    yield from _found(connection, without, "Collections without a feature set that serves (collections)")


def _images(connection: Connection) -> Iterator[str]:
    key = select(ImageRow.key)
    placed = exists().where(
        PlacementRow.key == ImageRow.key, PlacementRow.segment_id.is_not(None), PlacementRow.row.is_not(None),
        FeatureSetRow.id == PlacementRow.feature_set_id, FeatureSetRow.serving,
    )  # fmt: skip
    for state in ("live", "trashed"):
        homeless = key.where(ImageRow.state == state, ~placed)
        yield from _found(
            connection, homeless, f"{state.capitalize()} images without a segment and row (keys)"
        )
    orphan = key.outerjoin(TaskRow, TaskRow.id == ImageRow.task_id).where(
        ImageRow.state == "pending",
        or_(TaskRow.id.is_(None), TaskRow.state.not_in(OPEN), TaskRow.kind != EMBED),
    )
    yield from _found(connection, orphan, "Pending images without an open task (keys)")


def _placements(connection: Connection) -> Iterator[str]:
    key = select(PlacementRow.key).join(ImageRow, ImageRow.key == PlacementRow.key)
    waiting = key.where(ImageRow.state.in_(("pending", "failed")))
    yield from _found(connection, waiting, "Pending or failed images with a segment (keys)")
    gone = ImageRow.state.in_(("trashed", "buried", "discarded"))
    yield from _found(
        connection,
        key.where(gone != PlacementRow.dead),
        "Keys dead by one table only (keys)",
    )
    nowhere = or_(PlacementRow.segment_id.is_(None), PlacementRow.row.is_(None))
    whole = and_(PlacementRow.segment_id.is_(None), PlacementRow.row.is_(None), PlacementRow.dead)
    torn = key.where(nowhere, or_(~whole, PlacementRow.generation_id.is_(None)))
    yield from _found(connection, torn, "Keys that are neither in a row nor only in a generation (keys)")
    foreign = key.join(FeatureSetRow, FeatureSetRow.id == PlacementRow.feature_set_id)
    strange = foreign.where(FeatureSetRow.collection_id != ImageRow.collection_id)
    yield from _found(connection, strange, "Keys in a feature set of another collection (keys)")


def _rows(connection: Connection) -> Iterator[str]:
    placed: ColumnElement[bool] = PlacementRow.segment_id.is_not(None)
    shared = select(PlacementRow.segment_id).where(placed).group_by(PlacementRow.segment_id, PlacementRow.row)
    twice = shared.having(func.count() > 1)
    yield from _found(connection, twice, "Two images in one row of a segment (segments)")
    within = select(PlacementRow.key).join(SegmentRow, SegmentRow.id == PlacementRow.segment_id)
    outside = within.where(or_(PlacementRow.row < 0, PlacementRow.row >= SegmentRow.count))
    yield from _found(connection, outside, "Images in a row that their segment does not have (keys)")
    astray = or_(SegmentRow.state != "published", SegmentRow.feature_set_id != PlacementRow.feature_set_id)
    yield from _found(
        connection, within.where(astray), "Images in a segment that is not published here (keys)"
    )


def _segments(connection: Connection) -> Iterator[str]:
    placed = PlacementRow.segment_id == SegmentRow.id
    counted = select(SegmentRow.id).outerjoin(PlacementRow, placed).where(SegmentRow.state == "published")
    differing = counted.group_by(SegmentRow.id, SegmentRow.count).having(
        func.count(PlacementRow.key) != SegmentRow.count
    )
    yield from _found(connection, differing, "Segments whose count differs from their images (segments)")


def _tasks(connection: Connection) -> Iterator[str]:
    unowned = or_(TaskRow.owner.is_(None), TaskRow.lease_expires_at.is_(None))
    leased = select(TaskRow.id).where(TaskRow.state == "leased", unowned)
    yield from _found(connection, leased, "Leased tasks without an owner or an end (tasks)")
    ended = select(TaskRow.id).join(JobRow, JobRow.id == TaskRow.job_id)
    open_in_ended = ended.where(TaskRow.state.in_(OPEN), JobRow.state.not_in(("registering", "running")))
    yield from _found(connection, open_in_ended, "Open tasks of a job that has ended (tasks)")


def _items(connection: Connection) -> Iterator[str]:
    item = select(TaskItemRow.key).join(TaskRow, TaskRow.id == TaskItemRow.task_id)
    yield from _found(connection, item.where(TaskRow.kind == EMBED), "Items of a task that embeds (keys)")
    owed = item.where(TaskItemRow.state == "pending", TaskRow.state.not_in(OPEN))
    yield from _found(connection, owed, "Pending items of a task that has ended (keys)")
    foreign = item.join(ImageRow, ImageRow.key == TaskItemRow.key)
    strange = foreign.where(ImageRow.collection_id != TaskRow.collection_id)
    yield from _found(connection, strange, "Items of another collection than their task (keys)")
    met = item.add_columns(TaskRow.job_id).group_by(TaskRow.job_id, TaskRow.kind, TaskItemRow.key)
    yield from _found(connection, met.having(func.count() > 1), "Images twice in one job (keys)")


def _jobs(connection: Connection) -> Iterator[str]:
    open_tasks = and_(TaskRow.job_id == JobRow.id, TaskRow.state.in_(OPEN))
    idle = select(JobRow.id).outerjoin(TaskRow, open_tasks)
    stuck = idle.where(JobRow.state == "running", TaskRow.id.is_(None))
    yield from _found(connection, stuck, "Running jobs without an open task (jobs)")


def _generations(connection: Connection) -> Iterator[str]:
    """Few rows, and JSON: counted here."""
    here = select(SegmentRow.feature_set_id, SegmentRow.id).where(SegmentRow.state == "published")
    published = {(feature_set, segment) for feature_set, segment in connection.execute(here)}
    served: dict[int, bool] = {}
    rows = select(GenerationRow.feature_set_id, GenerationRow.serving, GenerationRow.covered)
    for feature_set, serving, covered in connection.execute(rows):
        served[feature_set] = served.get(feature_set, False) or serving
        missing = sorted(segment for segment in covered if (feature_set, segment) not in published)
        if missing:
            yield f"A generation of feature set {feature_set} covers unpublished segments {missing}"
    idle = sorted(feature_set for feature_set, serving in served.items() if not serving)
    if idle:
        yield f"Feature sets {idle} have generations of which none serves"


def _texts(connection: Connection) -> Iterator[str]:
    said = select(TextRow.id).join(ImageRow, ImageRow.key == TextRow.key)
    gone = ImageRow.state.in_(("buried", "discarded"))
    strange = or_(gone, ImageRow.collection_id != TextRow.collection_id)
    yield from _found(connection, said.where(strange), "Texts of images that are gone or elsewhere (texts)")
    given = TextRow.source == GIVEN
    other = said.where(given, or_(ImageRow.caption.is_(None), ImageRow.caption != TextRow.text))
    yield from _found(connection, other, "Given texts that are not their image's caption (texts)")
    own = and_(TextRow.key == ImageRow.key, given)
    without = (
        select(ImageRow.key)
        .outerjoin(TextRow, own)
        .where(TextRow.id.is_(None), ImageRow.caption != "", ~gone)
    )
    yield from _found(connection, without, "Captions without a given text (keys)")


def _fields(connection: Connection) -> Iterator[str]:
    """Compared here with the metadata, a page at a time."""
    offenders = list(islice(differing(connection), 1_000))
    yield from _told(offenders, "Images whose field values are not those of their metadata (keys)")
