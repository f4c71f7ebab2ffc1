"""Rows that speak of one picture: its captions are put together, and what contradicts is said."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from sightline.errors import SourceError
from sightline.indexer.items import DUPLICATE, Listed, SourceItem, SourceProblem
from sightline.store.values import same_json


@dataclass(frozen=True)
class Line:
    """What one row of a manifest lists, and where it stands: ``list.csv:7``."""

    place: str
    listed: Listed


def repeated(ids: Iterable[str]) -> dict[int, int]:
    """Hash of every id that comes more than once → how often. Eight bytes an id: manifests are long.

    A listing that breaks off is counted until there.
    """
    hashes = array("q")
    with suppress(SourceError):  # said when the rows are listed
        hashes.extend(map(hash, ids))
    values, counts = np.unique(np.array(hashes, np.int64), return_counts=True)
    several = counts > 1
    return dict(zip(values[several].tolist(), counts[several].tolist(), strict=True))


def merged(lines: Iterable[Line], often: dict[int, int]) -> Iterator[Listed]:
    """One item for each picture, once the last of its rows was met; ``often`` is of `repeated`.

    Raises:
        SourceError: the listing breaks off; what was listed before comes first.
    """
    waiting: dict[str, _Picture] = {}
    try:
        for line in lines:
            item = line.listed
            if isinstance(item, SourceProblem) or hash(item.image_id) not in often:
                yield item
                continue
            known = waiting.get(item.image_id)
            if known is None:
                waiting[item.image_id] = _Picture(item, line.place, often[hash(item.image_id)])
            else:
                yield from known.add(item, line.place)
                if known.rows == known.expected:
                    yield waiting.pop(item.image_id).whole()
    except SourceError:
        yield from (picture.whole() for picture in waiting.values())
        raise
    yield from (picture.whole() for picture in waiting.values())


@dataclass
class _Picture:
    """The rows of one picture so far: what the first one says counts."""

    item: SourceItem
    place: str
    expected: int
    rows: int = 1
    agreed: int = 0
    captions: list[str] = field(default_factory=list)

    def add(self, item: SourceItem, place: str) -> Iterator[SourceProblem]:
        """One more row; a problem when it says something else."""
        self.rows += 1
        if item.uri != self.item.uri:
            detail = f"{place} names another picture than {self.place}, by the same id; it was left out."
            yield SourceProblem(place, item.uri, DUPLICATE, detail)
            return
        if item.caption is not None and item.caption not in (self.item.caption, *self.captions):
            self.captions.append(item.caption)
        known = self.item.metadata
        other = [
            name for name, cell in item.metadata.items() if name in known and not same_json(cell, known[name])
        ]
        self.item = replace(self.item, metadata={**item.metadata, **known})
        if other:
            detail = f"{place} says something else of {item.image_id} than {self.place}: {', '.join(other)}."
            yield SourceProblem(place, item.uri, DUPLICATE, detail)
        else:
            self.agreed += 1

    def whole(self) -> SourceItem:
        """With all captions, one a line."""
        captions = [caption for caption in (self.item.caption, *self.captions) if caption is not None]
        return replace(self.item, caption="\n".join(captions) or None, repeats=self.agreed)
