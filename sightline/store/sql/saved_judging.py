"""Which pictures saved searches have not judged yet, and what became of those that were judged.

Nothing is lost and nothing comes twice, whoever dies or works beside: verdicts are kept in the transaction
that moves a search's position on, and only while its position and its round are those they were judged from.
Positions order pictures as searches came to see them: whatever makes one visible, or changes what filters see
of it, gives it a version above all before, under the collection's lock.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, func, insert, or_, select, update

from sightline.store.records import Collection
from sightline.store.saved_records import AskedSearch, Position, SavedWork, Verdicts
from sightline.store.schema import ImageRow
from sightline.store.schema_saved import SavedDeliveryRow, SavedMemberRow, SavedSearchRow
from sightline.store.sql.rows import (
    COLLECTIONS,
    SELECT_COLLECTIONS,
    chunks,
    collection_record,
    is_in,
    lock_collection,
)
from sightline.store.sql.saved import ANEW, forget_members, living

_ASKED: Final = select(
    SavedSearchRow.id,
    SavedSearchRow.question,
    SavedSearchRow.min_probability,
    SavedSearchRow.judged_by,
    SavedSearchRow.round,
    SavedSearchRow.judged_version,
    SavedSearchRow.judged_key,
)


def holders(connection: Connection) -> list[Collection]:
    """The collections that have saved searches and are not in the trash."""
    here = COLLECTIONS.c.id.in_(select(SavedSearchRow.collection_id))
    found = SELECT_COLLECTIONS.where(here, COLLECTIONS.c.trashed_at.is_(None)).order_by(COLLECTIONS.c.id)
    return [collection_record(row) for row in connection.execute(found).all()]


def asked(connection: Connection, collection_id: int) -> list[AskedSearch]:
    """The saved searches of a collection, as whoever judges knows them."""
    mine = _ASKED.where(SavedSearchRow.collection_id == collection_id).order_by(SavedSearchRow.id)
    rows: list[Any] = [tuple(row) for row in connection.execute(mine)]
    return [AskedSearch(*[*row[:5], (row[5], row[6])]) for row in rows]


def begin(connection: Connection, collection_id: int, judged_by: str) -> list[AskedSearch]:
    """From now on ``judged_by`` (a model with its calibration) judges; what another one said is asked anew.

    Members of before stay until their turn comes.
    """
    mine = SavedSearchRow.collection_id == collection_id
    another = or_(SavedSearchRow.judged_by.is_(None), SavedSearchRow.judged_by != judged_by)
    connection.execute(update(SavedSearchRow).where(mine, another).values({**ANEW, "judged_by": judged_by}))
    return asked(connection, collection_id)


def work(connection: Connection, collection_id: int, limit: int) -> SavedWork:
    """The next ``limit`` pictures behind the search that is furthest behind, for all who lack some of them.

    Without items when all is judged.
    """
    searches = asked(connection, collection_id)
    if not searches:
        return SavedWork((), ())
    items = _next(connection, collection_id, min(one.position for one in searches), limit)
    return SavedWork([one for one in searches if items and one.position < items[-1]], items)


def _next(connection: Connection, collection_id: int, after: Position, limit: int) -> list[Position]:
    """In two questions, each of which an index answers without sorting all there is."""
    version, key = after
    rest = (ImageRow.changed == version, ImageRow.key > key)
    query = select(ImageRow.changed, ImageRow.key).where(living(collection_id))
    found = [tuple(row) for row in connection.execute(query.where(*rest).order_by(ImageRow.key).limit(limit))]
    if len(found) < limit:
        newer = query.where(ImageRow.changed > version).order_by(ImageRow.changed, ImageRow.key)
        found += [tuple(row) for row in connection.execute(newer.limit(limit - len(found)))]
    return [(row[0], row[1]) for row in found]


def unjudged(connection: Connection, search_id: int, limit: int, after: int = 0) -> list[int]:
    """Keys of living pictures that could not be judged, in the order in which that was tried."""
    query = select(SavedMemberRow.key).join(ImageRow, ImageRow.key == SavedMemberRow.key)
    mine = (SavedMemberRow.search_id == search_id, SavedMemberRow.probability.is_(None), is_in("live"))
    return list(
        connection.scalars(
            query.where(*mine, SavedMemberRow.key > after).order_by(SavedMemberRow.key).limit(limit)
        )
    )


def keep(connection: Connection, now: float, collection_id: int, verdicts: Sequence[Verdicts]) -> list[int]:
    """Moves searches on and lets pictures join and go; the ids of the searches for which that was done.

    Not of one that has changed, or of which somebody else has judged the same pictures meanwhile. A picture
    that is not alive (any more) joins nothing: should it come back, it is judged again.
    """
    if not lock_collection(connection, collection_id):
        return []
    keys = sorted({key for one in verdicts for key in one.probabilities})
    alive = _alive(connection, collection_id, keys)
    done = []
    for one in verdicts:
        if _move_on(connection, one):
            _decide(connection, now, one, alive)
            done.append(one.search.id)
    return done


def _alive(connection: Connection, collection_id: int, keys: Sequence[int]) -> set[int]:
    found: set[int] = set()
    for chunk in chunks(keys):
        found.update(
            connection.scalars(select(ImageRow.key).where(living(collection_id), ImageRow.key.in_(chunk)))
        )
    return found


def _move_on(connection: Connection, one: Verdicts) -> bool:
    """Whether the search stands where it was judged from; its row is held from now on."""
    search = one.search
    until = search.position if one.until is None else one.until
    stands: ColumnElement[bool] = and_(SavedSearchRow.id == search.id, SavedSearchRow.round == search.round)
    if one.until is not None:
        where = (SavedSearchRow.judged_version, SavedSearchRow.judged_key)
        stands = and_(stands, *(column == was for column, was in zip(where, search.position, strict=True)))
        values = {"judged_version": until[0], "judged_key": until[1], "trouble": None}
    else:
        values = {"trouble": None}
    return connection.execute(update(SavedSearchRow).where(stands).values(values)).rowcount == 1


def _decide(connection: Connection, now: float, one: Verdicts, alive: set[int]) -> None:
    least, search_id = one.search.min_probability, one.search.id
    told = {key: found for key, found in one.probabilities.items() if key in alive}
    known = _known(connection, search_id, list(told))
    fits = {key for key, found in told.items() if found is not None and found >= least}
    gone = [key for key in known if key not in fits and told[key] is not None]
    # Who could not be judged and can now joins now, behind all who joined meanwhile.
    again = [key for key in known if key in fits and known[key] is None]
    for chunk in chunks([*gone, *again]):
        forget_members(connection, and_(SavedMemberRow.search_id == search_id, SavedMemberRow.key.in_(chunk)))
    for key in sorted(fits & known.keys() - set(again)):
        this = (SavedMemberRow.search_id == search_id, SavedMemberRow.key == key)
        connection.execute(update(SavedMemberRow).where(*this).values(probability=told[key]))
    joined = [key for key in told if key in fits and (key not in known or key in again)]
    lost = [key for key in told if told[key] is None and key not in known]
    _join(connection, now, search_id, {key: told[key] for key in [*joined, *lost]})


def _known(connection: Connection, search_id: int, keys: Sequence[int]) -> dict[int, float | None]:
    found: dict[int, float | None] = {}
    for chunk in chunks(keys):
        query = select(SavedMemberRow.key, SavedMemberRow.probability)
        mine = (SavedMemberRow.search_id == search_id, SavedMemberRow.key.in_(chunk))
        found.update((row.key, row.probability) for row in connection.execute(query.where(*mine)))
    return found


def _join(
    connection: Connection, now: float, search_id: int, probabilities: Mapping[int, float | None]
) -> None:
    """New members, one after the other: their ids are the order of joining."""
    has_webhook = select(SavedSearchRow.webhook).where(SavedSearchRow.id == search_id)
    told = connection.scalar(has_webhook) is not None
    for key, probability in probabilities.items():
        values = {"search_id": search_id, "key": key, "probability": probability, "joined_at": now}
        new = insert(SavedMemberRow).values(values).returning(SavedMemberRow.id)
        member_id = connection.scalars(new).one()
        if told and probability is not None:
            call = {"member_id": member_id, "search_id": search_id, "token": uuid.uuid4().hex}
            connection.execute(insert(SavedDeliveryRow).values(call))


def note_trouble(connection: Connection, collection_id: int, sentence: str | None) -> None:
    """Why nothing of this collection can be judged now; None: nothing is in the way."""
    mine = SavedSearchRow.collection_id == collection_id
    another = func.coalesce(SavedSearchRow.trouble, "") != (sentence or "")
    connection.execute(update(SavedSearchRow).where(mine, another).values(trouble=sentence))
