"""A generation that answers from its memory map at once, and soon from a copy in memory.

Verifying a map costs a tenth of a second for 50,000 images, copying it several times that, most of it spent
on getting memory. So the first query does not wait for the copy, and a process that asks once makes none.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sightline.store.flat.token_index import MappedFile, TokenIndex
    from sightline.store.index import Rows
    from sightline.types import Half, Keys, Mask, Vector

THREAD: Final = "copy an index"
ENOUGH: Final = 2
"""Queries after which a process is likely to ask more."""


class SettlingIndex:
    """See `sightline.store.index.CandidateIndex`. ``copy`` reads and verifies the same file into memory.

    It is called once, after the second query, in a thread of its own; None: there is no room, or it cannot be
    read now, and the map is searched on.
    """

    def __init__(self, mapped: TokenIndex, copy: Callable[[], TokenIndex | None]) -> None:
        self._searched = mapped
        self._copy = copy
        self._queries = itertools.count(1)
        self._thread: threading.Thread | None = None
        """Made when it is needed, and not before: it holds this for as long as it has not run."""
        self.exact = mapped.exact
        self.recall = mapped.recall

    @property
    def searched(self) -> TokenIndex:
        """What is searched now; its rows are the same before and after."""
        return self._searched

    @property
    def keys(self) -> Keys:
        """See `CandidateIndex`."""
        return self._searched.keys

    @property
    def tokens(self) -> Half:
        """fp16 ``[N,Q,D]``."""
        return self._searched.tokens

    @property
    def map(self) -> MappedFile | None:
        """What it is a map of; None when all of it is in memory."""
        return self._searched.map

    @property
    def queries(self) -> int:
        """Q."""
        return self._searched.queries

    def candidates(
        self, vectors_TD: Vector, wanted: int, allowed: Mask | None, probes: int | None
    ) -> Sequence[Rows]:
        """See `CandidateIndex`."""
        found = self._searched.candidates(vectors_TD, wanted, allowed, probes)
        if next(self._queries) == ENOUGH:
            self._thread = threading.Thread(target=self._settle, name=THREAD, daemon=True)
            self._thread.start()
        return found

    def tokens_at(self, rows: Rows) -> Half:
        """See `CandidateIndex`."""
        return self._searched.tokens_at(rows)

    def images_at(self, images: slice | NDArray[np.intp]) -> Half:
        """See `sightline.store.held_tokens.HoldsTokens`."""
        return self._searched.images_at(images)

    def is_intact(self) -> bool:
        """See `CandidateIndex`."""
        return self._searched.is_intact()

    def settled(self, timeout: float) -> bool:
        """Whether what the second query began has ended, after waiting so many seconds at most."""
        if self._thread is None:
            return False
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _settle(self) -> None:
        copied = self._copy()
        if copied is not None:
            self._searched = copied
