"""Patches of several segments, gathered in the order that somebody asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError, InputError, NotFoundError, SightlineError
from sightline.store.segment_content import kept_names

if TYPE_CHECKING:
    from io import FileIO

    from sightline.store.records import ImageLocation
    from sightline.store.segment_head import SegmentHead
    from sightline.types import Codes, Half


class GatheredPatches(NamedTuple):
    """Images whose patches one codec keeps. Image i is the one at ``positions[i]`` of those asked for."""

    positions: list[int]
    """Ascending."""
    codec: str
    patches: Half | Codes
    """fp16 ``[K,P,V]``, or int8 codes ``[K,P,C]``."""
    scales: Half | None
    """fp16 ``[K,P]`` of codes."""


@dataclass(frozen=True)
class Gathering:
    """``groups`` hold what is sound; ``lost`` says, by position, why the others cannot be had."""

    groups: list[GatheredPatches]
    lost: Mapping[int, SightlineError]


@dataclass
class CodecRows:
    """The images of one codec, whose rows are read straight into their places."""

    codec: str
    positions: list[int]
    """Ascending."""
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    lost: dict[int, SightlineError] = field(default_factory=dict)

    def fill(self, head: SegmentHead, handle: FileIO, wanted: Mapping[int, ImageLocation]) -> None:
        """Read what one segment has of them; `CorruptionError` when catalog and segment disagree."""
        checked_rows(head, self.codec, list(wanted.values()))
        for name in kept_names(self.codec):
            shape = head.layout.specs[name].shape[1:]
            if name not in self.arrays:
                self.arrays[name] = np.empty((len(self.positions), *shape), head.layout.specs[name].dtype)
            elif self.arrays[name].shape[1:] != shape:
                raise InputError("Patches of different models cannot be read together.")
        places = np.searchsorted(self.positions, list(wanted)).tolist()
        rows = [location.row for location in wanted.values()]
        for name, array in self.arrays.items():
            damaged = head.read_each(handle, name, rows, [array[place] for place in places])
            for (position, location), is_damaged in zip(wanted.items(), damaged, strict=True):
                if is_damaged:
                    what = f"The {name} of row {location.row} in {head.layout.path}"
                    self.lost[position] = CorruptionError(f"{what} are not what was written.")

    def gathered(self) -> GatheredPatches | None:
        """What was read and is sound; None when nothing is."""
        sound = [place for place, position in enumerate(self.positions) if position not in self.lost]
        if not sound:
            return None
        whole = len(sound) == len(self.positions)
        arrays = {name: array if whole else array[sound] for name, array in self.arrays.items()}
        values, *scales = (arrays[name] for name in kept_names(self.codec))
        return GatheredPatches(
            [self.positions[place] for place in sound], self.codec, values, scales[0] if scales else None
        )


def by_file(locations: Sequence[ImageLocation]) -> dict[str, dict[int, ImageLocation]]:
    """File → position → location."""
    found: dict[str, dict[int, ImageLocation]] = {}
    for position, location in enumerate(locations):
        found.setdefault(location.file, {})[position] = location
    return found


def checked_rows(head: SegmentHead, codec: str, wanted: Sequence[ImageLocation]) -> None:
    """`CorruptionError` unless these keys lie in these rows; `NotFoundError` without patches."""
    file = head.layout.path.name
    if not kept_names(head.codec):
        raise NotFoundError(f"The segment {file} was written without patches.")
    rows = np.array([location.row for location in wanted], np.intp)
    keys = np.array([location.key for location in wanted], np.int64)
    agree = codec == head.codec and rows.min() >= 0 and rows.max() < len(head.keys)
    if not agree or (head.keys[rows] != keys).any():
        raise CorruptionError(f"The catalog and the segment {file} disagree about what is in which row.")
