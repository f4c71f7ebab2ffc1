"""From a picture's tokens to the images that are most like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import CorruptionError, InputError
from sightline.retriever.records import Retrieved
from sightline.retriever.retriever import candidates_of
from sightline.retriever.similarity import QueryTokens, similar, similarity_of_all, tokens_in

if TYPE_CHECKING:
    from sightline.retriever.max_sim import ImageHits
    from sightline.retriever.retriever import Retriever
    from sightline.retriever.seen import Seen
    from sightline.store.conditions import Filter
    from sightline.types import Half


class SimilarImages:
    """Asks a retriever with pictures in place of a text: over everything that is live in it. Thread-safe."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever

    def retrieve(
        self,
        collection: str,
        tokens_TD: Half,
        candidates: int,
        filter: Filter | None = None,
        exclude: int | None = None,
    ) -> Retrieved:
        """The best ``candidates`` live images that pass ``filter``, by their similarity to a picture.

        ``tokens_TD``: the picture's query tokens fp16. ``exclude``: the key of an image that is not meant.
        Each candidate's ``itc`` is its similarity: the mean over ``tokens_TD`` of its best token's product.
        Every image is compared where the index is exact; where it is not, those that it names for any token.
        Errors as of `Retriever.retrieve`.
        """
        if candidates < 1:
            raise InputError(f"At least one candidate must be asked for, not {candidates}.")

        def look(seen: Seen) -> ImageHits:
            query = _checked(tokens_TD, seen)
            with seen.searching():
                return similar(seen.generation(), seen.tails(), query, candidates, exclude)

        answer = self._retriever.answer(collection, filter, look)
        hits, approximate = answer.value, answer.opened.recall() is not None
        return Retrieved(
            candidates_of(hits), answer.generation, hits.searched, answer.degraded, approximate=approximate
        )

    def similarities(self, collection: str, tokens_TD: Half, keys: Sequence[int]) -> dict[int, float]:
        """Key → similarity to a picture, of those of ``keys`` that are live. Errors as of `retrieve`."""
        wanted = np.unique(np.array(keys, np.int64))
        if not len(wanted):
            return {}

        def look(seen: Seen) -> dict[int, float]:
            query = _checked(tokens_TD, seen)
            with seen.searching():
                return similarity_of_all(seen.generation_of(wanted), seen.tails_of(wanted), query)

        return self._retriever.answer(collection, None, look).value

    def tokens(self, collection: str, key: int) -> Half | None:
        """The query tokens fp16 ``[Q,D]`` of a live image; None when it is not there or they are damaged."""
        wanted = np.array([key], np.int64)

        def look(seen: Seen) -> Half | None:
            try:
                return tokens_in(seen.generation_of(wanted), seen.tails_of(wanted))
            except CorruptionError:  # of this image alone: the generation is as good as before
                return None

        return self._retriever.answer(collection, None, look).value


def _checked(tokens_TD: Half, seen: Seen) -> QueryTokens:
    dim = seen.opened.joint_dim
    if tokens_TD.ndim != 2 or not len(tokens_TD) or tokens_TD.shape[1] != dim:
        raise InputError(
            f"The picture's tokens must be [T, {dim}], not {list(tokens_TD.shape)} of another model."
        )
    lengths = np.linalg.norm(tokens_TD.astype(np.float32), axis=1)
    # The bounds that make retrieval exact assume length 1; NaN fails this comparison too.
    if not (np.abs(lengths - 1) < 1e-2).all():
        raise InputError("The picture's tokens must have length 1.")
    return QueryTokens(tokens_TD)
