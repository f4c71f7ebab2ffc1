"""Where the features of images are: segments and rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, select, text

from sightline.store.records import ImageLocation
from sightline.store.schema import REFERRING, FeatureSetRow, ImageRow, PlacementRow, SegmentRow
from sightline.store.sql.rows import PLACEMENTS, chunks, plain_keys

Places = NDArray[np.int64]
"""``[n,3]``: segment, row and key."""

_PLACES = select(PlacementRow.key, SegmentRow.id, SegmentRow.file, PLACEMENTS.c.row, SegmentRow.codec).join(
    SegmentRow, SegmentRow.id == PlacementRow.segment_id
)
_LOCATION = _PLACES.join(FeatureSetRow, FeatureSetRow.id == PlacementRow.feature_set_id).where(
    FeatureSetRow.serving
)
_LOCATED = _LOCATION.where(PlacementRow.key.in_(bindparam("keys", expanding=True)))
_LOCATED_IN = _PLACES.where(
    PlacementRow.key.in_(bindparam("keys", expanding=True)),
    PlacementRow.feature_set_id == bindparam("feature_set"),
)
_BY_SHA = (
    _LOCATION.add_columns(ImageRow.sha256)
    .join(ImageRow, ImageRow.key == PlacementRow.key)
    .where(
        ImageRow.collection_id == bindparam("collection"),
        ImageRow.state.in_(("live", "trashed")),
        text(f"images.{REFERRING}"),
        ImageRow.sha256.in_(bindparam("shas", expanding=True)),
    )
    .order_by(ImageRow.key)
)


def locations(
    connection: Connection, keys: Sequence[int], feature_set_id: int | None = None
) -> dict[int, ImageLocation]:
    """Where a feature set, or the one that serves (None), has these keys.

    Live and dead ones: a search that began before a replacement can still read what it found.
    """
    found: dict[int, ImageLocation] = {}
    query = _LOCATED if feature_set_id is None else _LOCATED_IN.params(feature_set=feature_set_id)
    for chunk in chunks(plain_keys(keys)):
        for row in connection.execute(query, {"keys": chunk}).all():
            found[row[0]] = ImageLocation(*row)
    return found


def placements_in(connection: Connection, segment_ids: Sequence[int]) -> Places:
    """What the catalog knows to lie in these segments, live or dead, in any order."""
    columns = (PlacementRow.segment_id, PLACEMENTS.c.row, PlacementRow.key)
    found = [np.empty((0, 3), np.int64)]
    for chunk in chunks(plain_keys(segment_ids)):
        placed = (PlacementRow.segment_id.in_(chunk), PLACEMENTS.c.row.is_not(None))
        rows = connection.execute(select(*columns).where(*placed))
        found.append(np.fromiter(map(tuple, rows), np.dtype((np.int64, 3))))
    return np.concatenate(found)


def live_by_sha(connection: Connection, collection_id: int, shas: Sequence[str]) -> dict[str, ImageLocation]:
    """One location per SHA-256: bytes that are embedded already, under whatever id, even in the trash."""
    found: dict[str, ImageLocation] = {}
    for chunk in chunks(sorted(set(shas))):
        rows = connection.execute(_BY_SHA, {"collection": collection_id, "shas": chunk}).all()
        for *place, sha256 in rows:
            found.setdefault(sha256, ImageLocation(*place))
    return found
