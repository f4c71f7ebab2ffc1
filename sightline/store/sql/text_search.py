"""Images found by words of their texts: the full-text index says who has a word, ranking is ours.

A text is worth the sum of 1 / n over the words that it shares with the query, where n texts of the collection
have that word: a name that one caption has outweighs everything that many have. Words that very many have are
passed over. The same on both databases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, Connection, bindparam, func, select, text

from sightline.store.conditions import Filter
from sightline.store.full_text import NAME
from sightline.store.schema import ImageRow
from sightline.store.schema_texts import FOUND, TextRow
from sightline.store.sql.filter_sql import condition
from sightline.store.sql.rows import chunks
from sightline.store.text_records import TextHit
from sightline.store.words import scoped, words_of

COMMON: Final = 2_000
"""A word that more texts of a collection have, or more than a tenth of them, is passed over where the query
has a rarer one: it would bring everything."""
FEW: Final = 20
"""So many may have a word in any collection."""
MOST_WORDS: Final = 64
"""Different words of a query that are looked for."""

_ANY: Final = select(TextRow.id).where(TextRow.collection_id == bindparam("collection")).limit(1)
# The words are letters and digits, quoted, and a parameter: there is nothing in them for a parser.
_ON_SQLITE: Final = text(f"SELECT rowid FROM {NAME} WHERE {NAME} MATCH :words ORDER BY rowid LIMIT :most")
_ON_POSTGRES: Final = (
    "SELECT id FROM texts WHERE array_to_tsvector(string_to_array(words, ' ')) @@ CAST(:words AS tsquery)"
    f" AND {FOUND}"
)


def search(
    connection: Connection, collection_id: int, query: str, limit: int, filter: Filter | None = None
) -> list[TextHit]:
    """At most ``limit`` live images with a word of ``query`` in a text that is not dropped, the best first.

    Each by the best of its texts; ties by the text that came first. Any text is a query: it has no syntax.
    """
    words = list(dict.fromkeys(words_of(query)))[:MOST_WORDS]
    if not words or connection.scalar(_ANY, {"collection": collection_id}) is None:
        return []
    most = _common_from(connection, collection_id)
    found = {word: _having(connection, collection_id, [word], most + 1) for word in words}
    rare = {word: ids for word, ids in found.items() if len(ids) <= most}
    if not any(rare.values()):
        common = sorted(found.keys() - rare.keys())
        rare = {" ".join(common): _having(connection, collection_id, common, most)} if common else {}
    return _best(connection, collection_id, *_ranked(rare), limit, filter)


def _common_from(connection: Connection, collection_id: int) -> int:
    """What more texts have is common."""
    some = select(TextRow.id).where(TextRow.collection_id == collection_id).limit(10 * COMMON).subquery()
    count = connection.scalar(select(func.count()).select_from(some)) or 0
    return max(FEW, count // 10)


def _having(connection: Connection, collection_id: int, words: Sequence[str], most: int) -> list[int]:
    """Ids of texts with all of these words, at most so many."""
    names = [scoped(collection_id, word) for word in words]
    if connection.dialect.name == "sqlite":
        asked = " AND ".join(f'"{name}"' for name in names)
        return list(connection.scalars(_ON_SQLITE, {"words": asked, "most": most}))
    order = " ORDER BY id" if len(words) > 1 else ""  # else all are wanted, or none
    statement = text(f"{_ON_POSTGRES}{order} LIMIT :most")
    asked = " & ".join(f"'{name}'" for name in names)
    return list(connection.scalars(statement, {"words": asked, "most": most}))


def _ranked(found: Mapping[str, Sequence[int]]) -> tuple[list[int], dict[int, float]]:
    """Ids of texts, the best first, and what each is worth."""
    lists = [np.array(ids, np.int64) for ids in found.values() if ids]
    if not lists:
        return [], {}
    ids, places = np.unique(np.concatenate(lists), return_inverse=True)
    worth = np.concatenate([np.full(len(one), 1.0 / len(one)) for one in lists])
    scores = np.bincount(places, worth)
    order = np.lexsort((ids, -scores))
    return ids[order].tolist(), dict(zip(ids.tolist(), scores.tolist(), strict=True))


def _best(
    connection: Connection,
    collection_id: int,
    ranked: Sequence[int],
    scores: Mapping[int, float],
    limit: int,
    filter: Filter | None,
) -> list[TextHit]:
    """The first images of these texts that are live and pass the filter."""
    wanted: list[ColumnElement[bool]] = [TextRow.collection_id == collection_id, ImageRow.state == "live"]
    wanted += [] if filter is None else [condition(filter, connection.dialect.name)]
    query = select(TextRow.id, TextRow.key).join(ImageRow, ImageRow.key == TextRow.key).where(*wanted)
    best: dict[int, int] = {}
    for chunk in chunks(ranked):
        keys: dict[int, int] = dict(connection.execute(query.where(TextRow.id.in_(chunk))).all())
        for number in chunk:
            if number in keys:
                best.setdefault(keys[number], number)
        if len(best) >= limit:
            break
    chosen = list(best.items())[:limit]
    said = _texts(connection, [number for _, number in chosen])
    return [TextHit(key, scores[number], said[number], number) for key, number in chosen]


def _texts(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    said: dict[int, str] = {}
    for chunk in chunks(ids):
        rows: Any = connection.execute(select(TextRow.id, TextRow.text).where(TextRow.id.in_(chunk)))
        said.update(rows.all())
    return said
