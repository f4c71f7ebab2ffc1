"""One consistent state of a collection, as one query looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from sightline.errors import CorruptionError, IndexUnavailableError
from sightline.retriever.positions import in_sorted
from sightline.retriever.tails import Losses, Tails

if TYPE_CHECKING:
    from sightline.retriever.filtered_keys import FilteredKeys
    from sightline.retriever.max_sim import Part, TailPart
    from sightline.retriever.opened import OpenedSnapshot
    from sightline.types import Keys

Found = TypeVar("Found")


class BrokenIndexError(Exception):
    """The generation of an opened snapshot failed while it was searched."""

    def __init__(self, opened: OpenedSnapshot, error: Exception) -> None:
        super().__init__(str(error))
        self.opened = opened
        self.error = error


@dataclass(frozen=True)
class Seen:
    """An opened snapshot and what passes the filter (None: no filter).

    ``lost`` gathers what of the segments cannot be searched. ``tolerant``: segments that are missing count as
    damaged.
    """

    opened: OpenedSnapshot
    fitting: FilteredKeys | None
    scans: Tails
    tolerant: bool
    lost: Losses = field(default_factory=Losses)

    def generation(self) -> Part | None:
        """What may be found in the generation."""
        return self.opened.generation_part(self.fitting)

    def tails(self) -> Iterator[TailPart]:
        """What may be found outside of it."""
        wanted = None if self.fitting is None else self.fitting.keys
        return self.scans.parts(self.opened.segments, wanted, self.lost, tolerant=self.tolerant)

    def fitting_of(self, keys: Keys) -> Keys:
        """Those that pass the filter."""
        return keys if self.fitting is None else keys[in_sorted(keys, self.fitting.keys)]

    def generation_of(self, keys: Keys) -> Part | None:
        """These images, as far as they are live in the generation."""
        return self.opened.generation_part_of(keys)

    def tails_of(self, keys: Keys) -> Iterator[TailPart]:
        """These images (sorted), as far as they are live outside of it."""
        return self.scans.parts(self.opened.segments, keys, self.lost, tolerant=self.tolerant)

    @contextmanager
    def searching(self) -> Iterator[None]:
        """What fails in here is the generation: scans of segments say themselves what they lack."""
        try:
            yield
        except (OSError, CorruptionError, IndexUnavailableError) as error:
            if self.opened.generation is None:
                raise
            raise BrokenIndexError(self.opened, error) from error


@dataclass(frozen=True)
class Answer(Generic[Found]):
    """What was found, in what, and what it had to do without, one sentence each."""

    value: Found
    opened: OpenedSnapshot
    degraded: tuple[str, ...]

    @property
    def generation(self) -> int:
        """Number of the token index (0: everything was scanned)."""
        return 0 if self.opened.generation is None else self.opened.generation.number
