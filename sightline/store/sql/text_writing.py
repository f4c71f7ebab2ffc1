"""The texts that a task found or judged, written in the transaction that ends it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from sightline.errors import InputError
from sightline.store.schema import ImageRow
from sightline.store.schema_texts import TextRow
from sightline.store.sql.given import digest, field_texts, text_values
from sightline.store.sql.rows import TEXTS, chunks, update_many
from sightline.store.text_records import CAPTIONER, FIELD, GIVEN, VERDICTS, NewText
from sightline.store.values import check_text

_PER_CHUNK = 300
"""Texts that are compared with what is there together."""


def check_texts(texts: Iterable[NewText]) -> None:
    """Raises InputError for a text that cannot be stored, and for a source or verdict that there is not."""
    for one in texts:
        check_text("A text of an image", one.text)
        if one.source not in (GIVEN, CAPTIONER) and not one.source.startswith(FIELD):
            raise InputError(f"A text is given, metadata.<field> or captioner, not {one.source!a:.100}.")
        if one.verdict not in VERDICTS:
            raise InputError(f"A verdict is {', '.join(VERDICTS)}, not {one.verdict!a:.100}.")
        for number in (one.log_probability, one.match_probability):
            if number is not None and not math.isfinite(number):
                raise InputError("The probability of a text must be a finite number.")


def write_texts(
    connection: Connection, now: float, collection_id: int, job_id: str, texts: Sequence[NewText]
) -> None:
    """Writes what a job says of images that are there still.

    What the same model said of them before goes, unless a person decided about it. A text that is there gets
    the new judgement, but a person's verdict stays; one that is not judged now keeps the judgement it has,
    and stays a text of the job that gave it. Texts that the image does not say itself (any more) are left
    out.
    """
    check_texts(texts)
    for chunk in chunks({(one.key, one.source, one.text): one for one in texts}.values(), _PER_CHUNK):
        alive = _said_by_images(connection, collection_id, {int(one.key) for one in chunk})
        owned = [one for one in chunk if int(one.key) in alive and _is_said(one, alive[int(one.key)])]
        known = _known(connection, {int(one.key) for one in owned})
        there = [(known[_name(one)], one) for one in owned if _name(one) in known]
        new = [_values(now, collection_id, job_id, one) for one in owned if _name(one) not in known]
        update_many(connection, insert(TEXTS), new)
        _judge(connection, job_id, there)
    _forget_replaced(connection, collection_id, texts)


def _said_by_images(connection: Connection, collection_id: int, keys: set[int]) -> dict[int, Any]:
    query = select(ImageRow.key, ImageRow.caption, ImageRow.meta.label("metadata"))
    here = (ImageRow.collection_id == collection_id, ImageRow.state.in_(("live", "trashed")))
    rows = connection.execute(query.where(*here, ImageRow.key.in_(sorted(keys))))
    return {row.key: row for row in rows}


def _is_said(one: NewText, image: Any) -> bool:
    if one.source == GIVEN:
        return bool(image.caption == one.text)
    if one.source.startswith(FIELD):
        return one.text in field_texts(image.metadata, one.source.removeprefix(FIELD))
    return True


def _name(one: NewText) -> tuple[int, str, str]:
    return int(one.key), one.source, digest(one.text)


def _known(connection: Connection, keys: set[int]) -> dict[tuple[int, str, str], Any]:
    columns = (TextRow.id, TextRow.key, TextRow.source, TextRow.digest, TextRow.overruled)
    rows = connection.execute(select(*columns).where(TextRow.key.in_(sorted(keys))))
    return {(row.key, row.source, row.digest): row for row in rows}


def _values(now: float, collection_id: int, job_id: str, one: NewText) -> dict[str, Any]:
    return {
        **text_values(collection_id, int(one.key), one.source, one.text),
        **_model(one),
        **_judgement(one),
        "verdict": one.verdict,
        "overruled": False,
        "job_id": job_id,
        "created_at": now,
    }


def _model(one: NewText) -> dict[str, Any]:
    return {"model": one.model, "log_probability": one.log_probability}


def _judgement(one: NewText) -> dict[str, Any]:
    return {"match_probability": one.match_probability, "judge": one.judge}


def _judge(connection: Connection, job_id: str, there: Sequence[tuple[Any, NewText]]) -> None:
    """One statement for each set of columns that is written."""
    by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row, one in there:
        values = _model(one)
        if one.verdict != "unjudged" or one.judge is not None:
            values |= {**_judgement(one), "job_id": job_id}
            values |= {} if row.overruled else {"verdict": one.verdict}
        names = tuple(values)
        by_columns.setdefault(names, []).append(
            {"the_id": row.id, **{f"the_{name}": value for name, value in values.items()}}
        )
    for names, parameters in by_columns.items():
        statement = update(TEXTS).where(TEXTS.c.id == bindparam("the_id"))
        update_many(
            connection, statement.values({name: bindparam(f"the_{name}") for name in names}), parameters
        )


def _forget_replaced(connection: Connection, collection_id: int, texts: Sequence[NewText]) -> None:
    """What this source and model said of the same images before, and does not say now; never the given."""
    said: dict[tuple[str, str | None], dict[int, set[str]]] = {}
    for one in texts:
        if one.source != GIVEN:
            keys = said.setdefault((one.source, one.model), {})
            keys.setdefault(int(one.key), set()).add(digest(one.text))
    for (source, model), keys in said.items():
        for chunk in chunks(sorted(keys)):
            ours = TextRow.model.is_(None) if model is None else TextRow.model == model
            same = (TextRow.collection_id == collection_id, TextRow.source == source, ours)
            query = select(TextRow.id, TextRow.key, TextRow.digest).where(TextRow.key.in_(chunk), *same)
            rows = connection.execute(query.where(~TextRow.overruled)).all()
            gone = [row.id for row in rows if row.digest not in keys[row.key]]
            for some in chunks(gone):
                connection.execute(delete(TextRow).where(TextRow.id.in_(some)))
