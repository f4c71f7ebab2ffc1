"""Searching the lists: which images may be the best, then exactly which of their rows.

The lists name tokens with approximate scores. Where codes are coarse, the tokens that were hit are scored
from the segments first, one row each. Then all Q tokens of the finalists are read, and an exact scan of them
names the rows that can be the best of their image, as an exact index does.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError, UnavailableError
from sightline.kept import kept
from sightline.store.flat.faiss_scan import CpuScan, copy_index
from sightline.store.flat.token_index import TokenIndex
from sightline.store.index import Wanted
from sightline.store.ivf.lists import token_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sightline.store.index import Rows, StoredTokens
    from sightline.store.ivf.effort import Efforts
    from sightline.store.ivf.lists import Bytes, Floats
    from sightline.store.ivf.parts import Part
    from sightline.store.ivf.predictor import Predictor
    from sightline.store.ivf.trained import Trained
    from sightline.types import Half, Keys, Mask, Vector

SCANNED: Final = 500
"""Where no more images may be found, or no more than this share, they are scanned: it is faster."""
SCANNED_SHARE: Final = 0.002
SPARE: Final = 1.4
"""Finalists for each image that is wanted: the order by approximate scores is not the final one."""
SPARE_IF_SCORED: Final = 1.15
"""The same where hits were scored: only an image whose best token was not hit comes too late."""
SPARE_AT_LEAST: Final = 12
_SCAN_AT_ONCE: Final = 1024
_REMEMBERED: Final = 1024
"""Finalists whose tokens a thread keeps until its next search: whoever scores them asks at once."""
_LONGER: Final = 4


class Held(NamedTuple):
    """What an opened generation consists of. ``hidden``: of each part ``[n]``, images not to be found."""

    trained: Trained
    predictor: Predictor
    parts: tuple[Part, ...]
    hidden: tuple[Mask, ...]
    queries: int
    scores_hits: bool
    """Whether codes are so coarse that the tokens which are hit are scored before finalists are chosen."""


class Hits(NamedTuple):
    """Token rows by falling approximate score; whether that is all there is."""

    rows: Rows
    exhausted: bool


@dataclass(frozen=True)
class Selection:
    """The images ``[P]`` that may be found, how many, and the selector of each part (None: all of it)."""

    images: Mask | None
    count: int
    bits: Sequence[Bytes | None]


class _Remembered(threading.local):
    images: NDArray[np.int64] | None = None
    tokens: Half | None = None


@dataclass(frozen=True)
class IvfIndex:
    """See `sightline.store.index.CandidateIndex`. Images are counted over all parts, hidden ones too."""

    held: Held
    efforts: Efforts
    recall: float
    tokens: StoredTokens | None
    keys: Keys
    all_keys: Keys
    """``[P]``, of hidden images too."""
    living: NDArray[np.int64] | None
    """Where `keys` are in `all_keys` (None: they are the same)."""
    exact: bool = False
    _remembered: _Remembered = field(default_factory=_Remembered)

    @classmethod
    def of(cls, held: Held, efforts: Efforts, recall: float, tokens: StoredTokens | None) -> IvfIndex:
        """All parts together."""
        all_keys = np.concatenate([np.empty(0, np.int64), *(part.keys for part in held.parts)])
        hidden = np.concatenate([np.empty(0, np.bool_), *held.hidden])
        living = np.flatnonzero(~hidden) if hidden.any() else None
        keys = all_keys if living is None else all_keys[living]
        return cls(held, efforts, recall, tokens, keys, all_keys, living)

    @kept
    def order(self) -> NDArray[np.int64]:
        """``[P]``: what sorts `all_keys`."""
        return np.argsort(self.all_keys, kind="stable")

    @property
    def queries(self) -> int:
        """Q."""
        return self.held.queries

    def candidates(
        self, vectors_TD: Vector, wanted: int, allowed: Mask | None, probes: int | None
    ) -> list[Rows]:
        """See the contract."""
        selection = self.selection(allowed)
        vectors = np.ascontiguousarray(vectors_TD, np.float32)
        return [self._outside(self._search(one, wanted, selection, probes)) for one in vectors]

    def tokens_at(self, rows: Rows) -> Half:
        """Of finalists of this thread's latest search without reading them again."""
        if not len(rows):
            return np.empty((0, self.held.trained.centroids.shape[1]), np.float16)
        images, which = np.unique(self._inside(rows // self.queries), return_inverse=True)
        tokens = self._known(images)
        if tokens is None:
            sound = self._stored().images(self.all_keys[images])
            if len(sound.positions) < len(images):
                lost = len(images) - len(sound.positions)
                raise CorruptionError(f"The tokens of {lost} images are not what was written.")
            tokens = sound.tokens
        found: Half = tokens[which, rows % self.queries]
        return found

    def is_intact(self) -> bool:
        """A look at each file that is mapped."""
        return all(part.is_intact() for part in self.held.parts)

    # --- one vector ------------------------------------------------------------------------------------

    def _search(self, query: Floats, wanted: int, selection: Selection, probes: int | None) -> Rows:
        total, count = len(self.keys), selection.count
        if count == 0 or wanted <= 0:
            return np.empty(0, np.int64)
        if count <= max(SCANNED, SCANNED_SHARE * total) or 4 * wanted >= count:
            everyone = (
                np.arange(len(self.all_keys))
                if selection.images is None
                else np.flatnonzero(selection.images)
            )
            return self._exact_rows(query, everyone, wanted)
        effort = self.efforts.of(count / total, wanted)
        cells, fetch = effort.probes if probes is None else probes, effort.fetch
        while True:
            hits = self.hits(query, max(1, cells), fetch, selection)
            images = self.images_of(query, hits.rows)
            if len(images) >= min(wanted, count) or hits.exhausted:
                return self._exact_rows(query, images[: self.finalists(wanted)], wanted)
            cells, fetch = cells * _LONGER, fetch * _LONGER

    def finalists(self, wanted: int) -> int:
        """Images whose tokens are all read when so many are wanted."""
        return int((SPARE_IF_SCORED if self.held.scores_hits else SPARE) * wanted) + SPARE_AT_LEAST

    def hits(self, query: Floats, probes: int, fetch: int, selection: Selection) -> Hits:
        """The best ``fetch`` tokens in the ``probes`` best cells, by approximate score."""
        trained, queries = self.held.trained, self.queries
        cells = self.held.predictor.best_cells(query, probes)
        turned = trained.turned(query[None])
        scores, rows, first, full = [], [], 0, False
        for part, bits in zip(self.held.parts, selection.bits, strict=True):
            found = part.lists.search(turned, cells, fetch, bits, queries)
            full = full or len(found.scores) >= fetch
            scores.append(found.scores)
            rows.append((found.positions + first) * queries + found.tokens)
            first += len(part.keys)
        best = np.argsort(-np.concatenate(scores), kind="stable")[:fetch]
        return Hits(np.concatenate(rows)[best], exhausted=not full and len(cells) == len(trained.centroids))

    def images_of(self, query: Floats, rows: Rows) -> NDArray[np.int64]:
        """The images of hits, best first: by approximate scores, or by exact ones where codes are coarse."""
        if self.held.scores_hits:
            rows = rows[np.argsort(-self.score_hits(query, rows), kind="stable")]
        return first_images(rows, self.queries)

    def score_hits(self, query: Floats, rows: Rows) -> Floats:
        """``[n]``: scores of single tokens as segments hold them."""
        tokens = self._stored().rows(self.all_keys[rows // self.queries], rows % self.queries)
        scores: Floats = tokens.astype(np.float32) @ query
        return scores

    def _exact_rows(self, query: Floats, images: NDArray[np.int64], wanted: int) -> Rows:
        """Of these images every row that may be the best of one of the ``wanted`` best."""
        found = [np.empty(0, np.int64)]
        best = Wanted(wanted, -np.inf, wanted)
        for start in range(0, len(images), _SCAN_AT_ONCE):
            some = np.sort(images[start : start + _SCAN_AT_ONCE])
            sound = self._stored().images(self.all_keys[some])
            there = some[sound.positions]
            exact = TokenIndex(self.all_keys[there], sound.tokens, (CpuScan(copy_index(sound.tokens)),))
            rows = exact.best_rows(query, best, None)
            found.append(there[rows // self.queries] * self.queries + rows % self.queries)
            if len(images) <= _REMEMBERED:
                self._remembered.images, self._remembered.tokens = there, sound.tokens
        return np.concatenate(found)

    # --- positions outside (living images) and inside (all) --------------------------------------------

    def selection(self, allowed: Mask | None) -> Selection:
        """What is allowed, as the lists take it."""
        if allowed is None and self.living is None:
            return Selection(None, len(self.keys), [None] * len(self.held.parts))
        images = allowed
        if self.living is not None:
            images = np.zeros(len(self.all_keys), np.bool_)
            images[self.living] = True if allowed is None else allowed
        assert images is not None
        ends = np.cumsum([len(part.keys) for part in self.held.parts])[:-1]
        bits = [token_bits(some, self.queries) for some in np.split(images, ends)]
        return Selection(images, int(np.count_nonzero(images)), bits)

    def _outside(self, rows: Rows) -> Rows:
        if self.living is None:
            return rows
        images = np.searchsorted(self.living, rows // self.queries)
        return images * self.queries + rows % self.queries

    def _inside(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        return images if self.living is None else self.living[images]

    def _known(self, images: NDArray[np.int64]) -> Half | None:
        known, tokens = self._remembered.images, self._remembered.tokens
        if known is None or tokens is None or not len(known):
            return None
        at = np.minimum(np.searchsorted(known, images), len(known) - 1)
        return tokens[at] if (known[at] == images).all() else None

    def _stored(self) -> StoredTokens:
        if self.tokens is None:
            raise UnavailableError("This generation was opened without its segments: it only tells its keys.")
        return self.tokens


def first_images(rows: Rows, queries: int) -> NDArray[np.int64]:
    """The images of rows, each once, in the order of their first row."""
    images = rows // queries
    _, first = np.unique(images, return_index=True)
    return images[np.sort(first)]
