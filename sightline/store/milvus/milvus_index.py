"""An opened Milvus generation: the server names images, what segments hold decides.

Rows of one image score alike, so that many rows name few images: more are fetched than are wanted, and more
again until there are enough. What the server holds beside the living images of this generation (dead ones,
rows of a build that goes on or was killed) is dropped here.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sightline.errors import CorruptionError, InputError
from sightline.store.index import Wanted
from sightline.store.milvus.connection import LostRowsError
from sightline.store.milvus.token_rows import MOST_HITS, distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.store.index import Rows, StoredTokens, Tail
    from sightline.store.milvus.manifest import Manifest
    from sightline.store.milvus.token_rows import TokenRows
    from sightline.types import Half, Keys, Mask, Vector

    Positions = NDArray[np.intp]

SCANNED: Final = 512
"""Up to so many allowed images are compared without asking the server: about 10 ms."""
SCANNED_INSTEAD: Final = 20_000
"""So many are when their rows are gone there: about half a second. Beyond, whoever asked goes on without."""
FEW: Final = 2_000
"""So few keys are named to the server: it looks at nothing else then."""
MOST_NAMED: Final = 100_000
"""No expression names more keys."""
AT_ONCE: Final = 2_048
"""Images whose tokens are compared together: 32 MB at Q = 32 and D = 256."""
GROWTH: Final = 4
log = logging.getLogger(__name__)


class Effort(NamedTuple):
    """How hard the server looks: cells, and rows that are fetched for each image wanted."""

    probes: int
    fetch: int


@dataclass(frozen=True)
class MilvusIndex:
    """See `sightline.store.index.CandidateIndex`. ``tail`` makes an exact index of some images."""

    manifest: Manifest
    rows: TokenRows
    stored: StoredTokens | None
    tail: Callable[[Keys, Half], Tail]
    effort: Effort
    scanned: int = SCANNED
    exact: bool = False
    _order: NDArray[np.intp] = field(init=False, repr=False)
    _told: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_order", np.argsort(self.manifest.keys, kind="stable"))

    @property
    def recall(self) -> float:
        """As measured; 0 when it never was."""
        return self.manifest.named.recall

    @property
    def keys(self) -> Keys:
        """``[N]``."""
        return self.manifest.keys

    @property
    def queries(self) -> int:
        """Q."""
        return self.manifest.named.queries

    def is_intact(self) -> bool:
        """All that it trusts is in memory."""
        return True

    def candidates(
        self, vectors_TD: Vector, wanted: int, allowed: Mask | None, probes: int | None
    ) -> Sequence[Rows]:
        """See `CandidateIndex`. `LostRowsError` or `IndexUnavailableError` when the server has no answer."""
        effort = self.effort if probes is None else Effort(probes, self.effort.fetch)
        return [self._best(vector, wanted, allowed, effort) for vector in vectors_TD]

    def tokens_at(self, rows: Rows) -> Half:
        """See `CandidateIndex`."""
        images, at = np.unique(rows // self.queries, return_inverse=True)
        sound = self._tokens().images(self.keys[images])
        if len(sound.positions) < len(images):
            raise CorruptionError(
                f"The tokens of {len(images) - len(sound.positions)} images are lost or damaged."
            )
        return sound.tokens[at, rows % self.queries]

    def _best(self, vector: Vector, wanted: int, allowed: Mask | None, effort: Effort) -> Rows:
        members = self._members(vector, wanted, allowed, effort)
        starts = range(0, len(members), AT_ONCE)
        parts = [self._refined(vector, wanted, members[start : start + AT_ONCE]) for start in starts]
        return np.concatenate([*parts, np.empty(0, np.int64)])

    def _refined(self, vector: Vector, wanted: int, members: Positions) -> Rows:
        """Exactly the rows that may be the best of the best of some images."""
        keys = self.keys[members]
        sound = self._tokens().images(keys)
        small = self.tail(keys[sound.positions], sound.tokens)
        rows = small.best_rows(vector, Wanted(wanted, -np.inf, wanted), None)
        return members[sound.positions][rows // self.queries] * self.queries + rows % self.queries

    def _members(self, vector: Vector, wanted: int, allowed: Mask | None, effort: Effort) -> Positions:
        everyone = np.arange(len(self.keys)) if allowed is None else np.flatnonzero(allowed)
        finalists = wanted + max(8, wanted // 3)
        if len(everyone) <= max(self.scanned, finalists):
            return everyone
        try:
            found = self._asked(vector, finalists, allowed, len(everyone), effort)
        except LostRowsError as error:
            if len(everyone) > SCANNED_INSTEAD:
                raise
            if not self._told.is_set():
                self._told.set()
                log.warning("%s Every image that may be found is compared in its place.", error)
            return everyone
        return everyone if found is None else found

    def _asked(
        self, vector: Vector, finalists: int, allowed: Mask | None, count: int, effort: Effort
    ) -> Positions | None:
        """So many allowed images, the best first; None when the server does not come that far."""
        share = count / len(self.keys)
        expression = self._expression(allowed, count, finalists * effort.fetch / share)
        hits = finalists * effort.fetch if expression else math.ceil(finalists * effort.fetch / share)
        asking = _Asking(hits, _probes(effort.probes, share), self.manifest.named.nlist, expression)
        members = np.empty(0, np.intp)
        for hits, probes, text in asking.tries():
            keys = self.rows.search(vector, hits, probes, text)
            asking.answered(keys)
            more = self._known(distinct(keys), allowed)
            members = np.concatenate([members, more[~np.isin(more, members)]])
            if len(members) >= finalists:
                return members[:finalists]
        return members if asking.saw_everything else None

    def _expression(self, allowed: Mask | None, count: int, needed: float) -> str:
        """What the server may look at: said when it is little, or dropping the rest here would not do."""
        if allowed is None or (count > FEW and needed <= MOST_HITS):
            return ""
        if 2 * count <= len(self.keys):
            return f"key in {self.keys[allowed].tolist()}" if count <= MOST_NAMED else ""
        hidden = len(self.keys) - count
        return f"key not in {self.keys[~allowed].tolist()}" if hidden <= MOST_NAMED else ""

    def _known(self, keys: Keys, allowed: Mask | None) -> Positions:
        """Where those are that are ours and allowed."""
        places = np.minimum(np.searchsorted(self.keys, keys, sorter=self._order), len(self.keys) - 1)
        positions = self._order[places]
        ours = self.keys[positions] == keys
        known: Positions = positions[ours if allowed is None else ours & allowed[positions]]
        return known

    def _tokens(self) -> StoredTokens:
        if self.stored is None:
            raise InputError("This index was opened for its keys only: nothing tells where tokens are.")
        return self.stored


def _probes(probes: int, share: float) -> int:
    """Cells to look into when only a share may be found: the best of few lie farther from the query."""
    return probes * (4 if share < 0.02 else 2 if share < 0.1 else 1)


class _Asking:
    """What to ask for next: more rows; then without what was seen; more cells when there were no more."""

    def __init__(self, hits: int, probes: int, nlist: int, expression: str) -> None:
        self._hits = min(MOST_HITS, hits)
        self._probes = min(probes, nlist)
        self._nlist = nlist
        self._expression = expression
        self._seen = np.empty(0, np.int64)
        self._ended = False
        self.saw_everything = False

    def tries(self) -> Iterator[tuple[int, int, str]]:
        """Rows, cells and expression, one after another; each is to be `answered`."""
        excluded = ""
        while not self._ended:
            parts = [part for part in (self._expression, excluded) if part]
            yield self._hits, self._probes, " and ".join(f"({part})" for part in parts)
            excluded = f"key not in {self._seen.tolist()}" if len(self._seen) else ""

    def answered(self, keys: Keys) -> None:
        """What came of it."""
        if len(keys) < self._hits:  # that is all there is in these cells
            self.saw_everything = self._ended = self._probes >= self._nlist
            self._probes = min(self._nlist, self._probes * GROWTH)
        elif self._hits < MOST_HITS:
            self._hits = min(MOST_HITS, self._hits * GROWTH)
        else:
            self._seen = np.union1d(self._seen, keys)
            self._ended = len(self._seen) > MOST_NAMED
