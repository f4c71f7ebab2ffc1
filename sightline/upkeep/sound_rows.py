"""Which rows of a segment file are still what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.errors import CorruptionError, NotFoundError

if TYPE_CHECKING:
    from sightline.store.records import Segment
    from sightline.store.segment_reader import SegmentReader, SoundRows


def sound_rows(segments: SegmentReader, segment: Segment) -> SoundRows | None:
    """None when the file is gone or holds nothing that can be trusted."""
    segments.forget(segment.file)
    try:
        return segments.read_sound(segment.file)
    except (OSError, NotFoundError, CorruptionError):
        return None
