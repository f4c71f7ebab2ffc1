"""Segments that are lost or damaged: upkeep leaves them as they are and goes on with the others.

Nothing of them is merged, compressed or folded, because the copy would have a fresh checksum and nobody could
see any more that it is wrong. `sightline doctor` names them, ``--repair`` makes them again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sightline.errors import CorruptionError
from sightline.store.durable import FileMissingError

if TYPE_CHECKING:
    from sightline.store.records import Segment
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)


class Damage:
    """What is known of it. Each file is told of once."""

    def __init__(self, segments: SegmentReader) -> None:
        self._segments = segments
        self._told: set[str] = set()

    def spared(self, segments: Sequence[Segment], *, tokens_only: bool = False) -> list[Segment]:
        """Those that are there and not known to be damaged. ``tokens_only``: but for their patches."""
        return [one for one in segments if self._is_usable(one, tokens_only)]

    def found_in(self, segments: Sequence[Segment], *, tokens_only: bool = False) -> list[Segment]:
        """Those that are damaged or lost, after reading all of them; from now on they are known."""
        return [one for one in segments if not self._is_sound(one, tokens_only)]

    def _is_usable(self, segment: Segment, tokens_only: bool) -> bool:
        try:
            self._segments.head(segment.file)
        except (OSError, CorruptionError, FileMissingError) as error:
            self._tell(segment, error)
            return False
        return not self._segments.is_known_damaged(segment.file, tokens_only)

    def _is_sound(self, segment: Segment, tokens_only: bool) -> bool:
        try:
            if tokens_only:
                self._segments.verify_tokens(segment.file)
            else:
                self._segments.verify_rows(segment.file)
        except (OSError, CorruptionError, FileMissingError) as error:
            self._tell(segment, error)
            return False
        return True

    def _tell(self, segment: Segment, error: Exception) -> None:
        if segment.file not in self._told:
            self._told.add(segment.file)
            told = {"file": segment.file, "images": segment.count}
            log.error("a segment is left as it is; `sightline doctor --repair` helps: %s", error, extra=told)
