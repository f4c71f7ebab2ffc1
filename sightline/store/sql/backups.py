"""What a backup asks of a catalog, its own copy mostly."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text

from sightline.store.schema import REFERRING, CollectionRow, FeatureSetRow, ImageRow, SegmentRow
from sightline.store.schema_access import KeyRow
from sightline.store.schema_work import JobRow
from sightline.store.sql.rows import IMAGES


@dataclass(frozen=True)
class NamedSegment:
    """A published segment of any feature set."""

    file: str
    sha256: str
    bytes: int
    codec: str
    fingerprint: str


def named_segments(connection: Connection) -> list[NamedSegment]:
    """All of them, in the order in which they came."""
    columns = (SegmentRow.file, SegmentRow.sha256, SegmentRow.bytes, SegmentRow.codec)
    query = select(*columns, FeatureSetRow.fingerprint).join(FeatureSetRow)
    published = query.where(SegmentRow.state == "published").order_by(SegmentRow.id)
    return [NamedSegment(*row) for row in connection.execute(published)]


def fingerprints(connection: Connection) -> list[str]:
    """Of all models that collections are bound to."""
    return sorted(connection.scalars(select(FeatureSetRow.fingerprint).distinct()))


def wanted_shas(connection: Connection, prefix: str) -> set[str]:
    """SHA-256 of wanted bytes that begin so."""
    here = (IMAGES.c.sha256 >= prefix, IMAGES.c.sha256 < f"{prefix}~", text(f"images.{REFERRING}"))
    return set(connection.scalars(select(IMAGES.c.sha256).where(*here).distinct()))


def is_unused(connection: Connection) -> bool:
    """Whether there is nothing in it that anybody could miss."""
    rows = [select(func.count()).select_from(table) for table in (CollectionRow, ImageRow, JobRow, KeyRow)]
    return not any(connection.scalar(count) for count in rows)


def count_collections(connection: Connection) -> int:
    """Also of those in the trash."""
    return connection.scalar(select(func.count()).select_from(CollectionRow)) or 0
