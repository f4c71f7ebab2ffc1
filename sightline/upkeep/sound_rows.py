"""Which rows of a segment file are still what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sightline.errors import CorruptionError, NotFoundError
from sightline.store.segment_content import SegmentContent

if TYPE_CHECKING:
    from sightline.store.records import Segment
    from sightline.store.segments import SegmentReader
    from sightline.types import Mask


class SoundRows(NamedTuple):
    """A segment, and ``[N]`` which rows have sound tokens and which have sound patches."""

    content: SegmentContent
    tokens: Mask
    patches: Mask


def sound_rows(segments: SegmentReader, segment: Segment) -> SoundRows | None:
    """None when the file is gone or holds nothing that can be trusted.

    The first format has a checksum over the whole file and one over all keys and tokens: all or none.
    """
    segments.forget(segment.file)
    try:
        content = segments.read(segment.file)
        segments.verify_tokens(segment.file)
    except (OSError, NotFoundError, CorruptionError):
        return None
    count = len(content.keys)
    return SoundRows(content, np.ones(count, np.bool_), np.full(count, _is_whole(segments, segment)))


def _is_whole(segments: SegmentReader, segment: Segment) -> bool:
    try:
        segments.verify(segment.file, segment.sha256)
    except (OSError, NotFoundError, CorruptionError):
        return False
    return True
