"""Texts of a collection drawn at random, and what says whether that is due."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select

from sightline.store.schema import FeatureSetRow, ImageRow, SegmentRow
from sightline.store.schema_texts import TextRow
from sightline.store.text_records import SamplingState

_PARTS: Final = 1 << 16
_ODD: Final = 40_503
"""Times this, modulo `_PARTS`, any run of ids is spread evenly, whatever the number of texts of an image."""
_SPARE: Final = 3
"""So many times more are read than wanted: some are dropped, not live, or alike."""


def sampling_state(connection: Connection, now: float, collection_id: int, most: int) -> SamplingState:
    """How many images and texts a collection has (texts: at most ``most``), and the time. Cheap.

    Images are counted as the published segments of the feature set that serves hold them, dead ones too.
    """
    images = (
        select(func.coalesce(func.sum(SegmentRow.count), 0))
        .join(FeatureSetRow, FeatureSetRow.id == SegmentRow.feature_set_id)
        .where(FeatureSetRow.collection_id == collection_id, FeatureSetRow.serving)
        .where(SegmentRow.state == "published")
    )
    some = select(TextRow.id).where(TextRow.collection_id == collection_id).limit(most).subquery()
    texts = select(func.count()).select_from(some)
    return SamplingState(int(connection.scalar(images) or 0), connection.scalar(texts) or 0, now)


def draw_texts(connection: Connection, collection_id: int, most: int) -> list[str]:
    """About ``most`` to some times more texts of live images, drawn from all; none that were dropped.

    All of them when there are few. In no order that means something.
    """
    here = TextRow.collection_id == collection_id
    count = connection.scalar(select(func.count()).select_from(TextRow).where(here)) or 0
    part = min(_PARTS, _SPARE * most * _PARTS // max(1, count) + 1)
    query = (
        select(TextRow.text)
        .join(ImageRow, ImageRow.key == TextRow.key)
        .where(here, TextRow.verdict != "dropped", ImageRow.state == "live")
        .where((TextRow.id * _ODD) % _PARTS < part)
    )
    return list(connection.scalars(query))
