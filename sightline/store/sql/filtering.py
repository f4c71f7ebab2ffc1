"""Which images of a collection a filter fits, found by indexes as far as they lead.

Conditions on metadata are looked up in `field_values`, each by itself, and their keys combined here: millions
of keys are combined sooner in arrays than in SQL. Conditions on columns, and the few that no index knows,
are asked of the rows (`sightline.store.sql.filter_sql`, which says what every condition means).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, Select, select

from sightline.errors import NotFoundError
from sightline.store.conditions import Condition, Filter
from sightline.store.field_values import MAX_PATH
from sightline.store.filtered import Filtered, KeySet
from sightline.store.schema import CollectionRow, ImageRow
from sightline.store.sql.field_sql import key_queries
from sightline.store.sql.fields import field_ids
from sightline.store.sql.filter_sql import condition, paths
from sightline.store.sql.queries import trashed_keys
from sightline.store.sql.rows import IMAGES, among, is_in
from sightline.types import Keys

FEW: Final = 20_000
"""So many rows are asked one by one sooner than all of a large collection."""
AT_ONCE: Final = 2_000
"""Rows that are fetched together."""
NOTHING: Final = KeySet()
EVERYTHING: Final = ~NOTHING

Clauses = Sequence[Condition | Filter]


def filter_keys(connection: Connection, collection_id: int, filter: Filter) -> Keys:
    """Sorted keys of the live images that match."""
    found = _Filtering(connection, collection_id).matching(filter)
    if found.all_but:
        return (found & KeySet(_live_keys(connection, collection_id))).keys
    return (found & ~KeySet(trashed_keys(connection, collection_id))).keys


def filtered(
    connection: Connection, collection_id: int, filter: Filter, since: int | None = None
) -> Filtered:
    """`filter_keys` with the version that they are of; NotFoundError when the collection is gone.

    ``since``: a version whose keys the caller has. Only what changed after it is told, unless that is much.
    """
    version = connection.scalar(select(CollectionRow.version).where(CollectionRow.id == collection_id))
    if version is None:
        raise NotFoundError(f"There is no collection with number {collection_id}.")
    if since is not None and since <= version:
        fits = condition(filter, connection.dialect.name).label("fits")
        changed = select(ImageRow.key, fits).where(*_live(collection_id), ImageRow.changed > since)
        rows = connection.execute(changed.limit(FEW + 1)).all()
        if len(rows) <= FEW:
            fitting, others = (sorted(key for key, fits in rows if bool(fits) == wanted) for wanted in (1, 0))
            return Filtered(version, False, np.array(fitting, np.int64), np.array(others, np.int64))
    return Filtered(version, True, filter_keys(connection, collection_id, filter), NOTHING.keys)


def fetch_keys(connection: Connection, query: Select[int]) -> Keys:
    """The keys that are selected, sorted, each once."""
    with connection.execute(query) as result:
        # Past SQLAlchemy's rows, which take longer than the database does; a few at a time, for a row of
        # Python's takes ten times what its number does.
        parts = [np.empty(0, np.int64)]
        while result.cursor is not None and (rows := result.cursor.fetchmany(AT_ONCE)):
            parts.append(np.fromiter((key for (key,) in rows), np.int64, len(rows)))
    return np.unique(np.concatenate(parts))


def _live(collection_id: int) -> tuple[Any, ...]:
    return (ImageRow.collection_id == collection_id, is_in("live"))


def _live_keys(connection: Connection, collection_id: int) -> Keys:
    return fetch_keys(connection, select(ImageRow.key).where(*_live(collection_id)))


class _Filtering:
    """One filter over one collection. What it finds may be in the trash still."""

    def __init__(self, connection: Connection, collection_id: int) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name
        self._collection_id = collection_id

    def matching(self, filter: Filter) -> KeySet:
        """The images that match."""
        found = self._all_of(filter.must, EVERYTHING)
        if filter.must_not:
            found &= ~self._any_of(filter.must_not)
        if filter.should:
            found &= self._any_of(filter.should)
        return found

    def _all_of(self, clauses: Clauses, found: KeySet) -> KeySet:
        rowwise = [clause for clause in clauses if _is_rowwise(clause)]
        for clause in clauses:
            if not _is_rowwise(clause):
                found &= self._one(clause)
        return self._rows(Filter(must=tuple(rowwise)), found) if rowwise else found

    def _any_of(self, clauses: Clauses) -> KeySet:
        rowwise = [clause for clause in clauses if _is_rowwise(clause)]
        found = [self._one(clause) for clause in clauses if not _is_rowwise(clause)]
        found += [self._rows(Filter(should=tuple(rowwise)), EVERYTHING)] if rowwise else []
        return reduce(KeySet.__or__, found, NOTHING)

    def _one(self, clause: Condition | Filter) -> KeySet:
        return self.matching(clause) if isinstance(clause, Filter) else self._indexed(clause)

    def _rows(self, rowwise: Filter, found: KeySet) -> KeySet:
        """Those of these images whose rows fit."""
        fits = (*_live(self._collection_id), condition(rowwise, self._dialect))
        query = select(ImageRow.key).where(*fits)
        if found.all_but or len(found.keys) > FEW:
            return found & KeySet(fetch_keys(self._connection, query))
        few = among(IMAGES.c.key, found.keys.tolist(), self._dialect)
        return KeySet(fetch_keys(self._connection, query.where(few)))

    def _indexed(self, clause: Condition) -> KeySet:
        named = [".".join(path) for path in paths(clause.field)]
        ids = sorted(field_ids(self._connection, self._collection_id, named).values())
        if not ids:
            found = NOTHING
        else:
            sets = [
                KeySet(fetch_keys(self._connection, one)) for one in key_queries(clause, ids, self._dialect)
            ]
            found = reduce(KeySet.__or__, sets, NOTHING)
        return ~found if clause.is_absence else found


def _is_rowwise(clause: Condition | Filter) -> bool:
    """Whether no index helps."""
    if isinstance(clause, Filter):
        return all(map(_is_rowwise, _clauses(clause)))
    return clause.field.kind != "metadata" or any(len(".".join(p)) > MAX_PATH for p in paths(clause.field))


def _clauses(filter: Filter) -> Iterator[Condition | Filter]:
    yield from (*filter.must, *filter.should, *filter.must_not)
