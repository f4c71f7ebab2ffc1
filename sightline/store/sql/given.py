"""The texts that an image brings itself: its caption, and what jobs took from its metadata.

They follow what is stored of the image, in the transaction that changes it: each version with a caption has a
``given`` text, and no text says what its image does not say any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, literal, select, text

from sightline.store.records import LOST
from sightline.store.schema import REFERRING, ImageRow
from sightline.store.schema_texts import TextRow
from sightline.store.sql.rows import IMAGES, TEXTS, chunks, update_many
from sightline.store.text_records import CAPTIONER, FIELD, GIVEN
from sightline.store.words import indexed

Known = Mapping[tuple[str, str], Sequence[Any]]
"""(image id, SHA-256) → texts of an earlier version of these very bytes under this very id."""
_SAID = tuple(column for column in TEXTS.columns if column.name not in ("id", "key"))


def digest(said: str) -> str:
    """What stands for a text where it must be unique: 128 bits, in hexadecimal digits."""
    return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def text_values(collection_id: int, key: int, source: str, said: str) -> dict[str, Any]:
    """What every new row needs."""
    return {
        "key": key,
        "collection_id": collection_id,
        "source": source,
        "text": said,
        "digest": digest(said),
        "words": indexed(collection_id, said),
    }


def follow(connection: Connection, now: float, keys: Sequence[int], known: Known | None = None) -> None:
    """Brings the texts of these images in line with their captions and metadata.

    A text that stays keeps its verdict. A new version of ``known`` bytes has what was said of them before.
    """
    query = select(
        ImageRow.key, ImageRow.collection_id, ImageRow.image_id, ImageRow.sha256, ImageRow.caption,
        ImageRow.meta.label("metadata"),
    )  # fmt: skip
    for chunk in chunks(keys):
        images: list[Any] = list(
            connection.execute(query.where(ImageRow.key.in_(chunk)).order_by(ImageRow.key))
        )
        said = select(TextRow.id, TextRow.key, TextRow.source, TextRow.text).where(TextRow.key.in_(chunk))
        there: list[Any] = list(connection.execute(said.where(TextRow.source != CAPTIONER)))
        by_key = {image.key: image for image in images}
        gone = [row.id for row in there if not _says(by_key[row.key], row)]
        if gone:
            connection.execute(delete(TextRow).where(TextRow.id.in_(gone)))
        has = {row.key for row in there if row.source == GIVEN and _says(by_key[row.key], row)}
        rows = [row for image in images if image.key not in has for row in _new(image, now, known or {})]
        update_many(connection, insert(TEXTS), rows)


def follow_tasks(connection: Connection, now: float, task_ids: Sequence[int], known: Known) -> None:
    """The texts of what these new tasks hold. Images without a caption are looked at for ``known`` alone."""
    keys = select(ImageRow.key).order_by(ImageRow.key)
    if not known:
        keys = keys.where(ImageRow.caption != "")
    for chunk in chunks(task_ids):
        mine = keys.where(ImageRow.task_id.in_(chunk))
        follow(connection, now, list(connection.scalars(mine)), known)


def _new(image: Any, now: float, known: Known) -> list[dict[str, Any]]:
    """The rows of an image that has no given text yet."""
    remembered = known.get((image.image_id, image.sha256), ())
    kept = [{**row._mapping, "key": image.key} for row in remembered if _says(image, row)]
    rows = [{name: value for name, value in row.items() if name not in _OF_IMAGES} for row in kept]
    if image.caption and not any(row["source"] == GIVEN for row in rows):
        values = text_values(image.collection_id, image.key, GIVEN, image.caption)
        rows.append({**_UNSAID, **values, "created_at": now})
    return rows


_OF_IMAGES = frozenset({"image_id", "sha256"})
_UNSAID: dict[str, Any] = {
    "model": None, "log_probability": None, "match_probability": None, "judge": None, "verdict": "unjudged",
    "overruled": False, "job_id": None,
}  # fmt: skip


def _says(image: Any, said: Any) -> bool:
    """Whether the image says this still. What a model said of the bytes stays true."""
    if said.source == GIVEN:
        return bool(image.caption == said.text)
    if said.source.startswith(FIELD):
        return said.text in field_texts(image.metadata, said.source.removeprefix(FIELD))
    return True


def field_texts(metadata: Mapping[str, Any], name: str) -> list[str]:
    """The texts of one field of the metadata: a text, or a list with some; ``a.b`` is b of the object a."""
    value: Any = metadata.get(name)
    if value is None and "." in name:
        first, _, rest = name.partition(".")
        inner = metadata.get(first)
        return field_texts(inner, rest) if isinstance(inner, Mapping) else []
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)]


def known_texts(connection: Connection, collection_id: int, shas: Sequence[str]) -> Known:
    """What was said of bytes that lie in the trash or are lost; of several versions the newest counts."""
    found: dict[tuple[str, str], dict[int, list[Any]]] = {}
    for chunk in chunks(sorted(set(shas))):
        earlier = (
            ImageRow.collection_id == collection_id,
            IMAGES.c.sha256.in_(bindparam("shas", chunk, expanding=True)),
            text(f"images.{REFERRING}"),
            (ImageRow.state == "trashed") | ((ImageRow.state == "failed") & (ImageRow.reason == LOST)),
        )
        query = select(*_SAID, TextRow.key, ImageRow.image_id, ImageRow.sha256)
        query = query.join(ImageRow, ImageRow.key == TextRow.key).where(*earlier)
        for row in connection.execute(query.order_by(TextRow.key)):
            found.setdefault((row.image_id, row.sha256), {}).setdefault(row.key, []).append(row)
    return {name: list(versions.values())[-1] for name, versions in found.items()}


def inherit(connection: Connection, old: int, new: int) -> None:
    """Another version of the same bytes has the same texts."""
    names = [column.name for column in _SAID]
    rows = select(literal(new), *_SAID).where(TEXTS.c.key == old)
    connection.execute(insert(TEXTS).from_select(["key", *names], rows))
