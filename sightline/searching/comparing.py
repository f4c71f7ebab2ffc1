"""Looks at pictures that are new: their hashes, their neighbours, and whether they are the same picture.

Of each content the thumbnail is decoded, never the original. A chunk of images is hashed, held against all
that were looked at before and against itself, and what was found is written with the hashes in one
transaction, so that a run that is killed goes on where it was.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from sightline.errors import CorruptionError, NotFoundError
from sightline.imaging.picture_hash import BYTES, VIEWS, picture_hash
from sightline.imaging.same_picture import Sketch, is_same, sketch
from sightline.imaging.thumbnails import read_thumbnail
from sightline.searching.hash_neighbours import neighbours
from sightline.store.duplicate_records import HashedImage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog

NEAREST: Final = 8
LARGEST: Final = 8
"""Candidates of one picture that are looked at: the nearest, and the largest."""
CHUNK: Final = 500
MOST_CHUNK: Final = 20_000
SKETCHES: Final = 2_000
"""In memory, about 90 KB each."""


@dataclass
class Looked:
    """What a run did: images it looked at, and SHA-256 of those that it could not see."""

    images: int = 0
    unseen: set[str] = field(default_factory=set)


class Comparing:
    """One run over one collection. For one thread; nobody else may compare the collection meanwhile."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, collection_id: int, chunk: int = CHUNK) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._collection_id = collection_id
        self._chunk = chunk
        self._sketches: OrderedDict[str, Sketch | None] = OrderedDict()
        self._known: list[HashedImage] = []
        self.looked = Looked()

    def run(self, until: float, on: Callable[[], bool]) -> bool:
        """Look at all that is new; False where ``until`` (monotonic) came first, or ``on`` said no.

        ``on`` is called every few pictures.
        """
        self._known = self._catalog.picture_hashes(self._collection_id)
        after = 0
        while True:
            size = min(MOST_CHUNK, max(self._chunk, len(self._known) // 50))
            size = size if self._chunk >= CHUNK else self._chunk
            chunk = self._catalog.unhashed_images(self._collection_id, after, size)
            if not chunk:
                return True
            done = self._look(chunk, until, on)
            if done is None:
                return False
            after = chunk[-1][0]

    def _look(self, chunk: Sequence[tuple[int, str]], until: float, on: Callable[[], bool]) -> bool | None:
        """Hashes and compares a chunk, or its beginning where time is up; None: no further."""
        areas = self._areas([key for key, _ in chunk])
        fresh: list[HashedImage] = []
        going = True
        for place, (key, sha256) in enumerate(chunk):
            going = time.monotonic() < until and (place % 50 > 0 or on())
            if not going:
                break
            made = self._hash(sha256)
            if made is not None:
                fresh.append(HashedImage(key, sha256, areas.get(key, 0), made))
        pairs = self._compare(fresh, on)
        if pairs is None:
            return None
        self._catalog.note_hashes([(one.key, one.hash) for one in fresh], pairs)
        self._known += fresh
        self.looked.images += len(fresh)
        return True if going else None

    def _areas(self, keys: Sequence[int]) -> dict[int, int]:
        found = self._catalog.describe(self._collection_id, keys)
        return {key: (one.width or 0) * (one.height or 0) for key, one in found.items()}

    def _hash(self, sha256: str) -> bytes | None:
        try:
            picture = read_thumbnail(self._blobs.get_thumbnail(sha256))
        except (OSError, NotFoundError, CorruptionError):
            self.looked.unseen.add(sha256)
            return None
        self._remember(sha256, sketch(picture))
        return picture_hash(picture.convert("L"))

    def _compare(self, fresh: Sequence[HashedImage], on: Callable[[], bool]) -> list[tuple[str, str]] | None:
        """The pairs of contents, a fresh one and any other, that are the same picture; None: stopped."""
        if not fresh:
            return []
        known = [*self._known, *fresh]
        pairs: set[tuple[str, str]] = set()
        tried: set[tuple[str, str]] = set()
        for place, (row, others) in enumerate(_candidates(fresh, known)):
            if place % 20 == 0 and not on():
                return None
            for other in others:
                pair = _ordered(fresh[row].sha256, known[other].sha256)
                if pair in tried:
                    continue
                tried.add(pair)
                if self._same(*pair):
                    pairs.add(pair)
        return sorted(pairs)

    def _same(self, first: str, second: str) -> bool:
        one, other = self._sketch(first), self._sketch(second)
        return one is not None and other is not None and is_same(one, other)

    def _sketch(self, sha256: str) -> Sketch | None:
        if sha256 not in self._sketches:
            try:
                made: Sketch | None = sketch(read_thumbnail(self._blobs.get_thumbnail(sha256)))
            except (OSError, NotFoundError, CorruptionError):
                self.looked.unseen.add(sha256)
                made = None
            self._remember(sha256, made)
        self._sketches.move_to_end(sha256)
        return self._sketches[sha256]

    def _remember(self, sha256: str, made: Sketch | None) -> None:
        self._sketches[sha256] = made
        if len(self._sketches) > SKETCHES:
            self._sketches.popitem(last=False)


def _candidates(
    fresh: Sequence[HashedImage], known: Sequence[HashedImage]
) -> Iterator[tuple[int, list[int]]]:
    """For each fresh image rows of known ones with other bytes: its nearest and largest neighbours."""
    rows, others, apart = neighbours(_hashes(fresh), _hashes(known))
    starts = np.searchsorted(rows, np.arange(len(fresh) + 1))
    for row in range(len(fresh)):
        here = range(int(starts[row]), int(starts[row + 1]))
        near = [(int(others[at]), int(apart[at])) for at in here]
        near = [(other, far) for other, far in near if known[other].sha256 != fresh[row].sha256]
        nearest = sorted(near, key=lambda one: (one[1], known[one[0]].key))[:NEAREST]
        largest = sorted(near, key=lambda one: (-known[one[0]].area, known[one[0]].key))[:LARGEST]
        yield row, sorted({other for other, _ in [*nearest, *largest]})


def _hashes(images: Sequence[HashedImage]) -> NDArray[np.uint8]:
    """``[N,V,16]``."""
    return np.frombuffer(b"".join(one.hash for one in images), np.uint8).reshape(-1, VIEWS, BYTES)


def _ordered(one: str, other: str) -> tuple[str, str]:
    return (min(one, other), max(one, other))
