"""When a collection's sample texts are due, and writing them (`sightline.store.sample_texts`).

A worker does it, because it has the model: after a task, and when it has nothing else to do. Two that do it
at once write two sets, of which the later one stays; one that dies leaves nothing that counts.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ModelMismatchError, NotFoundError, SightlineError
from sightline.faultpoint import faultpoint
from sightline.indexer.names import worker_name
from sightline.store.sample_texts import CAPTIONS, GENERAL, QUERIES, SampleTexts, text_set

if TYPE_CHECKING:
    from sightline.blip.protocols import Encoder
    from sightline.indexer.heartbeat import Pulse
    from sightline.indexer.parts import IndexerParts
    from sightline.store.records import Collection
    from sightline.store.sample_text_files import SampleTextFiles
    from sightline.store.text_records import SamplingState
    from sightline.types import Vector

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 10.0
"""How often one worker looks at one collection."""
REST_SECONDS: Final = 600.0
"""How long it leaves one alone whose texts could not be written; the length of the lease, too."""
HELD_OUT: Final = 300
"""Texts that an index measures with, beside those that it learns from."""
LEARNED: Final = 512
"""Texts to learn from, up to …"""
AT_IMAGES: Final = 20_000
"""… so many images; four times as many texts for ten times as many images, and `MOST` from 290,000 on."""
MOST: Final = 2_560
GENERAL_SHARE: Final = 0.125
"""Of a set, at least: people do not ask for what captions say alone."""
QUERY_SHARE: Final = 0.5
"""Of a set, at most."""
MORE_TEXTS: Final = 100
"""So many more texts than a set has are news, if they are twice as many."""
FRESH_SECONDS: Final = 30 * 86_400.0
"""A set of own texts stands so long: the vector of a caption does not outlive its image for ever."""
_AT_ONCE: Final = 64
_AT_A_TIME: Final = 4_000
"""Characters of a text that the model is given: it reads fewer."""


def texts_for(images: int) -> int:
    """How many sample texts a collection of so many images needs: M grows with N to the power lg 4."""
    learned = int(LEARNED * (max(images, 1) / AT_IMAGES) ** math.log10(4))
    return HELD_OUT + min(MOST, max(LEARNED, learned))


def due(known: SampleTexts | None, asked: int, state: SamplingState, least: int) -> str | None:
    """Why a collection needs another set; None when it does not.

    ``asked``: vectors of queries that there are; ``least``: images that a set pays for.
    """
    if not least or state.images < least:
        return None
    if known is None:
        return "there is none"
    if state.images >= 2 * max(known.images, 1):
        return "the collection has doubled"
    wanted, captions, queries = texts_for(state.images), known.count(CAPTIONS), known.count(QUERIES)
    if _is_news(min(state.texts, wanted - round(wanted * GENERAL_SHARE) - queries), captions):
        return "captions came"
    if queries and not asked:
        return "queries are not kept any more"
    if _is_news(min(asked, round(wanted * QUERY_SHARE)), queries):
        return "queries came"
    own = len(known.vectors) > known.count(GENERAL)
    return "it is old" if own and abs(state.now - known.drawn_at) > FRESH_SECONDS else None


def _is_news(there: int, known: int) -> bool:
    return there >= max(2 * known, known + MORE_TEXTS)


class TextSampling:
    """Of one worker process; called in the thread that uses the model."""

    def __init__(
        self,
        parts: IndexerParts,
        files: SampleTextFiles,
        told_to_stop: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
        keeps_queries: bool = False,
    ) -> None:
        """``keeps_queries``: what was asked may be kept; else it is deleted, where something was."""
        self._parts = parts
        self._catalog = parts.catalog
        self._files = files
        self._told_to_stop = told_to_stop
        self._monotonic = monotonic
        self._keeps_queries = keeps_queries
        self._next: dict[int, float] = {}
        """Collection id → when to look again."""

    def tend_all(self, pulse: Pulse) -> None:
        """As `tend`, every collection; at most every `LOOK_SECONDS`."""
        if self._parts.settings.sample_texts_from and self._may_look(-1):
            for collection in self._catalog.collections():
                self.tend(collection, pulse)

    def tend(self, collection: Collection, pulse: Pulse) -> None:
        """Write a set if one is due. Trouble is logged, and nothing is raised: no task may suffer by it."""
        if not self._parts.settings.sample_texts_from or not self._may_look(collection.id):
            return
        try:
            self._tend(collection, pulse)
        except (SightlineError, OSError, RuntimeError) as error:
            self._next[collection.id] = self._monotonic() + REST_SECONDS
            if not isinstance(error, NotFoundError):  # deleted meanwhile
                log.warning("Sample texts of %s cannot be written now: %s", collection.name, error)

    def _may_look(self, collection_id: int) -> bool:
        now = self._monotonic()
        if now < self._next.get(collection_id, -float("inf")):
            return False
        self._next[collection_id] = now + LOOK_SECONDS
        return True

    def _tend(self, collection: Collection, pulse: Pulse) -> None:
        state = self._catalog.sampling_state(collection.id, texts_for(MOST * AT_IMAGES))
        least = self._parts.settings.sample_texts_from
        asked = self._asked(collection)
        if state.images < least:
            return
        known = self._files.newest(collection.fingerprint, collection.id)
        reason = due(known, 0 if asked is None else len(asked.vectors), state, least)
        lease, owner = f"texts:{collection.id}", worker_name()
        if reason is None or not self._catalog.acquire_singleton(lease, owner, REST_SECONDS):
            return
        try:
            log.info("drawing sample texts: %s", reason, extra={"collection": collection.name})
            self._write(collection, state, pulse)
        finally:
            self._catalog.release_singleton(lease, owner)

    def _asked(self, collection: Collection) -> SampleTexts | None:
        """What was asked, as far as it may be kept; else it goes."""
        of = collection.fingerprint, collection.id
        if self._keeps_queries:
            return self._files.queries(*of)
        self._files.forget_queries(*of)
        return None

    def _write(self, collection: Collection, state: SamplingState, pulse: Pulse) -> None:
        token = self._files.token(collection.id)
        if token is None:
            return
        with pulse.patience():
            encoder = self._parts.models.encoder(collection)
        if encoder.fingerprint != collection.fingerprint:
            raise ModelMismatchError(f"This worker's model is not that of the collection {collection.name}.")
        texts = self._drawn(collection, state, encoder, pulse)
        if texts is not None:
            faultpoint("texts.drawn")
            self._files.write(collection.fingerprint, collection.id, token, texts)

    def _drawn(
        self, collection: Collection, state: SamplingState, encoder: Encoder, pulse: Pulse
    ) -> SampleTexts | None:
        """A new set in random order; None when the worker was told to stop meanwhile."""
        wanted, chance = texts_for(state.images), np.random.default_rng()
        asked = self._asked(collection)
        queries_QD = np.empty((0, encoder.joint_dim), np.float32) if asked is None else asked.vectors
        queries_QD = chance.permutation(queries_QD)[: round(wanted * QUERY_SHARE)]
        most = wanted - len(queries_QD) - round(wanted * GENERAL_SHARE)
        captions = _some(self._catalog.draw_texts(collection.id, most), most, chance)
        general = _some(general_sentences(), wanted - len(queries_QD) - len(captions), chance)
        encoded_MD = self._encoded(encoder, [*captions, *general], pulse)
        if encoded_MD is None:
            return None
        counts = {CAPTIONS: len(captions), GENERAL: len(general), QUERIES: len(queries_QD)}
        origins_M = np.repeat(np.array([*counts], np.int8), [*counts.values()])
        return _mixed(np.concatenate([encoded_MD, queries_QD]), origins_M, state, chance)

    def _encoded(self, encoder: Encoder, texts: Sequence[str], pulse: Pulse) -> Vector | None:
        """Unit vectors fp32 ``[M,D]``."""
        import torch

        parts = [np.empty((0, encoder.joint_dim), np.float32)]
        for start in range(0, len(texts), _AT_ONCE):
            if self._told_to_stop():
                return None
            with torch.inference_mode():
                vectors = encoder.encode_text([text[:_AT_A_TIME] for text in texts[start : start + _AT_ONCE]])
            parts.append(vectors.float().cpu().numpy())
            pulse.beat()
        return np.concatenate(parts)


def general_sentences() -> list[str]:
    """The sentences that come with this package."""
    text = (files("sightline") / "data" / "general-sentences.txt").read_text("utf-8")
    return text.splitlines()


def _some(texts: Sequence[str], most: int, chance: np.random.Generator) -> list[str]:
    """At most ``most`` of the different lines of these texts, in random order."""
    lines = (" ".join(line.split()) for text in texts for line in text.splitlines())
    different = list({line.casefold(): line for line in lines if line}.values())
    return [different[place] for place in chance.permutation(len(different))[:most].tolist()]


def _mixed(
    vectors_MD: Vector, origins_M: NDArray[np.int8], state: SamplingState, chance: np.random.Generator
) -> SampleTexts:
    """In random order; without what is not a unit vector."""
    sound = np.abs(np.linalg.norm(vectors_MD, axis=1) - 1) < 1e-2
    order = chance.permutation(np.flatnonzero(sound))
    return text_set(vectors_MD[order], origins_M[order], state.images, state.now)
