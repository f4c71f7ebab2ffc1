"""Who has an image id, and who may have it next: nothing is replaced by another source unasked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from sightline.store.records import BROKEN, COPIED, LOST, UPLOADED
from sightline.store.schema import ImageRow
from sightline.store.sql.rows import IMAGES, RELEASED_BLOBS, SOURCES, chunks, is_in, update_many
from sightline.store.sql.seen import Seen
from sightline.store.work_records import Registration

Rows = dict[str, Row[Any]]
"""image id → its version of one state, with the address of its source."""

_VERSIONS = select(
    ImageRow.image_id,
    ImageRow.key,
    ImageRow.sha256,
    ImageRow.uri,
    ImageRow.caption,
    ImageRow.meta.label("metadata"),
    ImageRow.source_id,
    ImageRow.job_id,
    ImageRow.reason,
    SOURCES.c.address.label("source"),
).outerjoin(SOURCES, SOURCES.c.id == IMAGES.c.source_id)
# Put together once: with ids in place of parameters that takes longer than the database does.
_NAMED = _VERSIONS.where(
    ImageRow.collection_id == bindparam("collection"), ImageRow.image_id.in_(bindparam("ids", expanding=True))
)
_LIVE = _NAMED.where(is_in("live"))
_PENDING = _NAMED.where(is_in("pending"))
_FAILED = _NAMED.where(is_in("failed"), ImageRow.reason.in_((LOST, *sorted(BROKEN))))


@dataclass(frozen=True)
class Holders:
    """The versions that have these ids: ``pending`` ones are newer than ``live`` ones."""

    live: Rows = field(default_factory=dict)
    pending: Rows = field(default_factory=dict)
    lost: Rows = field(default_factory=dict)
    """Images that a repair could not make again, whose caption and metadata wait for them to come back."""
    broken: Rows = field(default_factory=dict)
    """Versions that no decoder could read."""

    def of(self, image_id: str) -> Row[Any] | None:
        """The newest version that has the id."""
        return self.pending.get(image_id, self.live.get(image_id))

    def remembered(self, image_id: str) -> Row[Any] | None:
        """The version whose caption and metadata stay where none are given."""
        return self.live.get(image_id, self.lost.get(image_id))


def holders(connection: Connection, collection_id: int, image_ids: Iterable[str]) -> Holders:
    """Three statements a chunk, so that each finds its partial index."""
    found = Holders()
    for chunk in chunks(image_ids):
        here = {"collection": collection_id, "ids": chunk}
        for query, rows in ((_LIVE, found.live), (_PENDING, found.pending)):
            rows.update((row.image_id, row) for row in connection.execute(query, here))
        for row in connection.execute(_FAILED, here):
            (found.lost if row.reason == LOST else found.broken)[row.image_id] = row
    return found


def is_taken(item: Registration, holder: Row[Any] | None) -> bool:
    """Whether the id belongs to another picture of another source.

    Not when the bytes are the same, nor when they lie at the very address of that picture. What came before
    sources were kept belongs to whoever names its address, lists the folder that it lies in, or uploads anew.
    """
    if holder is None or item.source is None or holder.sha256 == item.sha256:
        return False
    if holder.uri == item.uri and not holder.uri.startswith(COPIED):
        return False
    if holder.source is None:
        return not (item.source == UPLOADED or lies_in(holder.uri, item.source))
    return bool(holder.source != item.source)


def lies_in(uri: str, source: str) -> bool:
    """Whether an address is below that of a folder or an archive."""
    return uri.startswith((source.rstrip("/") + "/", f"{source}!/"))


def address_after(item: Registration, row: Row[Any], met_there: bool) -> tuple[str, bool]:
    """The address of unchanged bytes that were met again, and whether it is the item's source that has them.

    They stay where this very job has met them (``met_there``), and a copy of ours is not given up.
    """
    if met_there:
        return row.uri, False
    kept = row.uri.startswith(COPIED) and not item.uri.startswith(COPIED)
    return (row.uri if kept else item.uri), True


def met_elsewhere(row: Row[Any], source_id: int | None, before: Seen) -> bool:
    """Whether the job has met this version in its own source already, and now in another."""
    return row.source_id != source_id and (row.source_id or 0) in before.get(row.image_id, frozenset())


def is_known_broken(item: Registration, held: Holders, job_id: str) -> bool:
    """Whether an earlier job has found the very bytes at this address to be no picture.

    What is uploaded again is tried again.
    """
    row = held.broken.get(item.image_id)
    if row is None or item.source in (None, UPLOADED) or item.image_id in held.pending:
        return False
    return (row.sha256, row.uri) == (item.sha256, item.uri) and row.job_id != job_id


def release_refused(connection: Connection, now: float, refused: Sequence[Registration]) -> None:
    """Copies of bytes that were not registered go, unless some image has the same ones."""
    shas = sorted({item.sha256 for item in refused if item.uri.startswith(COPIED)})
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = upsert(RELEASED_BLOBS)
    again = {"since": statement.excluded.since}
    statement = statement.on_conflict_do_update(index_elements=["sha256"], set_=again)
    update_many(connection, statement, [{"sha256": sha, "since": now} for sha in shas])
