"""What pictures look like, and which contents are the same picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Select, delete, func, literal, select, text
from sqlalchemy.dialects import postgresql, sqlite

from sightline.store.duplicate_records import Alike, HashedImage, Member
from sightline.store.schema import REFERRING, ImageRow
from sightline.store.schema_duplicates import PictureHashRow, SamePictureRow
from sightline.store.sql.rows import (
    IMAGES,
    PICTURE_HASHES,
    SAME_PICTURES,
    chunks,
    is_in,
    plain_keys,
    update_many,
)

_IS_KEPT = ImageRow.state.in_(("live", "trashed"))
_LOOKED_AT = (PictureHashRow, PictureHashRow.key == ImageRow.key)
_IS_WANTED = cast("ColumnElement[bool]", text(f"images.{REFERRING}"))


def unhashed(connection: Connection, collection_id: int, after: int, limit: int) -> list[tuple[int, str]]:
    """Key and SHA-256 of live images that were not looked at yet, by key, behind ``after``."""
    query = select(ImageRow.key, ImageRow.sha256).outerjoin(*_LOOKED_AT).where(ImageRow.key > after)
    rows = query.where(*_unhashed(collection_id)).order_by(ImageRow.key).limit(limit)
    return [(key, sha256) for key, sha256 in connection.execute(rows)]


def count_unhashed(connection: Connection, collection_id: int) -> int:
    """How many live images were not looked at yet."""
    query = select(func.count(ImageRow.key)).outerjoin(*_LOOKED_AT).where(*_unhashed(collection_id))
    return int(connection.scalar(query) or 0)


def _unhashed(collection_id: int) -> list[ColumnElement[bool]]:
    return [ImageRow.collection_id == collection_id, is_in("live"), PictureHashRow.key.is_(None)]


def hashes(connection: Connection, collection_id: int) -> list[HashedImage]:
    """All that were looked at, by key; those in the trash too, for they may come back."""
    area = func.coalesce(ImageRow.width, 0) * func.coalesce(ImageRow.height, 0)
    query = (
        select(ImageRow.key, ImageRow.sha256, area, PictureHashRow.hash)
        .join(PictureHashRow, PictureHashRow.key == ImageRow.key)
        .where(ImageRow.collection_id == collection_id, _IS_KEPT)
    )
    return [HashedImage(*row) for row in connection.execute(query.order_by(ImageRow.key))]


def note(
    connection: Connection, found: Sequence[tuple[int, bytes]], pairs: Sequence[tuple[str, str]]
) -> None:
    """These images were compared with all that were looked at; these contents are the same picture.

    What was purged or buried meanwhile leaves nothing.
    """
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    for chunk in chunks(found):
        hash_of = dict(chunk)
        kept = select(ImageRow.key).where(ImageRow.key.in_(plain_keys(hash_of)), _IS_KEPT)
        rows = [{"key": key, "hash": hash_of[key]} for key in connection.scalars(kept.with_for_update())]
        update_many(connection, upsert(PICTURE_HASHES).on_conflict_do_nothing(), rows)
    wanted = _wanted(connection, sorted({sha for pair in pairs for sha in pair}))
    ordered = sorted({(min(pair), max(pair)) for pair in pairs if wanted.issuperset(pair)})
    rows = [{"first": first, "second": second} for first, second in ordered]
    update_many(connection, upsert(SAME_PICTURES).on_conflict_do_nothing(), rows)


def _wanted(connection: Connection, shas: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for chunk in chunks(shas):
        found.update(
            connection.scalars(select(IMAGES.c.sha256).where(IMAGES.c.sha256.in_(chunk), _IS_WANTED))
        )
    return found


def stamp(connection: Connection) -> int:
    """Another number whenever pairs were found; what is forgotten changes its collections' versions."""
    return int(connection.scalar(select(func.coalesce(func.max(SamePictureRow.id), 0))) or 0)


def alike(connection: Connection, collection_id: int) -> Alike:
    """The live images of a collection that share their bytes, or the picture, with another one."""
    here = (ImageRow.collection_id == collection_id, is_in("live"))
    first, second = (select(ImageRow.sha256).where(*here) for _ in range(2))
    both = (SamePictureRow.first.in_(first), SamePictureRow.second.in_(second))
    pairs = [(one, other) for one, other in connection.execute(_PAIRS.where(*both))]
    columns = (
        ImageRow.key,
        ImageRow.image_id,
        ImageRow.sha256,
        ImageRow.width,
        ImageRow.height,
        ImageRow.bytes,
    )
    repeated = select(ImageRow.sha256).where(*here).group_by(ImageRow.sha256).having(func.count() > 1)
    members = {
        row.key: Member(*row)
        for row in connection.execute(select(*columns).where(*here, ImageRow.sha256.in_(repeated)))
    }
    for chunk in chunks(sorted({sha for pair in pairs for sha in pair})):
        rows = connection.execute(select(*columns).where(*here, _IS_WANTED, ImageRow.sha256.in_(chunk)))
        members.update({row.key: Member(*row) for row in rows})
    return Alike([members[key] for key in sorted(members)], pairs)


_PAIRS = select(SamePictureRow.first, SamePictureRow.second).order_by(
    SamePictureRow.first, SamePictureRow.second
)


def names_of(connection: Connection, keys: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Key → SHA-256 and image id."""
    found: dict[int, tuple[str, str]] = {}
    columns = (ImageRow.key, ImageRow.sha256, ImageRow.image_id)
    for chunk in chunks(plain_keys(keys)):
        rows = connection.execute(select(*columns).where(ImageRow.key.in_(chunk)))
        found.update({key: (sha256, image_id) for key, sha256, image_id in rows})
    return found


def forget_pairs(connection: Connection, shas: Select[Any]) -> None:
    """What was found of contents that no image has any more."""
    unwanted = shas.where(
        ~select(literal(1)).where(IMAGES.c.sha256 == shas.selected_columns[0], _IS_WANTED).exists()
    )
    for column in (SamePictureRow.first, SamePictureRow.second):
        connection.execute(delete(SamePictureRow).where(column.in_(unwanted)))
