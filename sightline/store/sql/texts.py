"""Texts of images: reading, listing, counting, and what people decide about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, func, literal, select, update

from sightline.errors import InputError, NotFoundError
from sightline.store.schema import ImageRow
from sightline.store.schema_texts import TextRow
from sightline.store.sql.rows import IMAGES, TEXTS, bump_version, chunks, plain_keys, require_collection
from sightline.store.text_records import (
    VERDICTS,
    StoredText,
    TextCount,
    TextPage,
    TextProbability,
    TextSource,
    Verdict,
)
from sightline.store.told import Room
from sightline.store.words import scoped, words_of

MAX_PAGE: Final = 1_000
MOST_WORDS: Final = 100
"""Different words that the texts of a page can be asked to have."""
SELECT_TEXTS: Final[Select[Any]] = select(
    TEXTS.c.id, TEXTS.c.key, IMAGES.c.image_id, IMAGES.c.uri, TEXTS.c.source, TEXTS.c.model, TEXTS.c.text,
    TEXTS.c.log_probability, TEXTS.c.match_probability, TEXTS.c.judge, TEXTS.c.verdict, TEXTS.c.overruled,
    TEXTS.c.job_id, TEXTS.c.created_at,
).join(IMAGES, IMAGES.c.key == TEXTS.c.key)  # fmt: skip
"""In the order of the fields of `StoredText`."""
_IDS: Final = 2**63
"""No database has a row with such a number or a greater one."""
_LIVE: Final = ImageRow.state == "live"


def text_record(row: Row[*tuple[Any, ...]]) -> StoredText:
    return StoredText(*row)


def of_images(connection: Connection, keys: Sequence[int]) -> dict[int, list[StoredText]]:
    """The texts of these images by key, in the order in which they came; nothing of those without."""
    found: dict[int, list[StoredText]] = {}
    for chunk in chunks(plain_keys(keys)):
        query = SELECT_TEXTS.where(TextRow.key.in_(chunk)).order_by(TextRow.id)
        for row in connection.execute(query):
            found.setdefault(row.key, []).append(text_record(row))
    return found


def page(
    connection: Connection,
    collection_id: int,
    verdict: Verdict | None = None,
    source: TextSource | None = None,
    overruled: bool | None = None,
    contains: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
    most_bytes: int | None = None,
) -> TextPage:
    """A page of texts of live images, in the order in which they came.

    ``contains``: words that all of them have; blank is none. Before a text with which they would have more
    than ``most_bytes`` the page ends too, but for its first. InputError for a foreign cursor, a wrong limit,
    many words, and signs without any word.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InputError(f"A page has 1 to {MAX_PAGE} texts, not {limit}.")
    wanted = [TextRow.collection_id == collection_id, _LIVE]
    wanted += [] if verdict is None else [TextRow.verdict == verdict]
    wanted += [] if source is None else [TextRow.source == source]
    wanted += [] if overruled is None else [TextRow.overruled == overruled]
    for word in _words(contains or ""):
        around = literal(" ").concat(TEXTS.c.words).concat(" ")
        wanted.append(around.contains(f" {scoped(collection_id, word)} ", autoescape=True))
    total = select(func.count()).select_from(TextRow).join(ImageRow, ImageRow.key == TextRow.key)
    count = connection.scalar(total.where(*wanted)) or 0
    query = SELECT_TEXTS.where(*wanted, TextRow.id > _after(cursor)).order_by(TextRow.id).limit(limit + 1)
    items, room = list[StoredText](), Room(most_bytes)
    with connection.execute(query) as rows:
        for row in rows:
            if len(items) == limit or (not room.takes(row.text, {}) and items):
                return TextPage(items, str(items[-1].id), count)
            items.append(text_record(row))
    return TextPage(items, None, count)


def _words(contains: str) -> list[str]:
    words = list(dict.fromkeys(words_of(contains)))
    if len(words) > MOST_WORDS:
        raise InputError(f"Texts are listed by at most {MOST_WORDS} words, not {len(words):,}.")
    if contains.strip() and not words:  # else every text would be listed as if it had these signs
        raise InputError(f"There is no word in {contains!r:.100}: texts are found by letters and digits.")
    return words


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InputError(f"{cursor!r} is not a cursor that this listing gave.")
    return int(cursor)


def overrule(connection: Connection, collection_id: int, text_id: int, verdict: Verdict) -> StoredText:
    """A person's verdict, which no job changes. NotFoundError; InputError for a word that is no verdict."""
    if verdict not in VERDICTS:
        raise InputError(f"A verdict is {', '.join(VERDICTS)}, not {verdict!a:.100}.")
    return _decided(connection, collection_id, text_id, {"verdict": verdict, "overruled": True})


def withdraw(connection: Connection, collection_id: int, text_id: int) -> StoredText:
    """Takes a person's verdict back: the text is unjudged until a job judges it again. NotFoundError.

    One that no person decided about stays as it is.
    """
    values = {"verdict": "unjudged", "overruled": False}
    return _decided(connection, collection_id, text_id, values, only=TEXTS.c.overruled)


def _decided(
    connection: Connection,
    collection_id: int,
    text_id: int,
    values: dict[str, Any],
    only: ColumnElement[bool] | None = None,
) -> StoredText:
    require_collection(connection, collection_id)
    here = [TextRow.collection_id == collection_id, TextRow.id == text_id]
    there = SELECT_TEXTS.where(*here, ImageRow.state.in_(("live", "trashed")))
    row = connection.execute(there).one_or_none() if 0 < text_id < _IDS else None
    if row is None:
        raise NotFoundError(f"There is no text {text_id} in this collection.")
    also = [] if only is None else [only]
    connection.execute(update(TextRow).where(*here, *also).values(values))
    bump_version(connection, collection_id)
    return text_record(connection.execute(SELECT_TEXTS.where(*here)).one())


def counts(connection: Connection, collection_id: int, job_id: str | None = None) -> list[TextCount]:
    """How many texts of live images there are of each source and verdict.

    ``job_id``: only those that this job was the last to judge, or wrote and none has judged since.
    """
    columns = (TextRow.source, TextRow.verdict, TextRow.overruled)
    query = select(*columns, func.count()).join(ImageRow, ImageRow.key == TextRow.key)
    grouped = query.where(*_of(collection_id, job_id)).group_by(*columns).order_by(*columns)
    rows: list[Any] = list(connection.execute(grouped))
    return [TextCount(*row) for row in rows]


def _of(collection_id: int, job_id: str | None) -> list[ColumnElement[bool]]:
    here = [TextRow.collection_id == collection_id, _LIVE]
    return here if job_id is None else [*here, TextRow.job_id == job_id]


def probabilities(
    connection: Connection,
    collection_id: int,
    job_id: str | None = None,
    after_id: int = 0,
    limit: int = 10_000,
) -> list[tuple[int, TextProbability]]:
    """What the judge said of texts of live images, with the id of each, by their ids beyond ``after_id``.

    A chunk: the next begins after its last id; the last one is empty.
    """
    query = select(TextRow.id, TextRow.source, TextRow.verdict, TextRow.match_probability)
    judged = [*_of(collection_id, job_id), TextRow.match_probability.is_not(None), TextRow.id > after_id]
    query = query.join(ImageRow, ImageRow.key == TextRow.key).where(*judged).order_by(TextRow.id).limit(limit)
    rows: list[Any] = list(connection.execute(query))
    return [(number, TextProbability(*rest)) for number, *rest in rows]


def every(
    connection: Connection,
    collection_id: int,
    verdicts: Collection[Verdict] = VERDICTS,
    after_id: int = 0,
    limit: int = 1_000,
    job_id: str | None = None,
) -> list[StoredText]:
    """Texts of live images with one of these verdicts, by their ids beyond ``after_id``: for exports.

    ``job_id``: those of this job, as in `counts`.
    """
    here = (*_of(collection_id, job_id), TextRow.verdict.in_(tuple(verdicts)))
    query = SELECT_TEXTS.where(*here, TextRow.id > after_id).order_by(TextRow.id).limit(limit)
    return [text_record(row) for row in connection.execute(query)]
