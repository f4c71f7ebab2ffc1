"""From segments to a Milvus generation, new or grown from one that serves.

What is to be inserted is written down first (`manifest.write_begun`), so that a killed build leaves nothing
that nobody knows of. The manifest is written last, when everybody sees the rows.
"""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from sightline.errors import CorruptionError, IndexUnavailableError
from sightline.store.index import BuiltIndex
from sightline.store.living_images import Images
from sightline.store.milvus.manifest import (
    SUFFIX,
    Manifest,
    Named,
    read_manifest,
    write_begun,
    write_manifest,
)
from sightline.store.milvus.milvus_index import Effort, MilvusIndex
from sightline.store.milvus.recall import MEASURED_AGAIN, Measured, measured
from sightline.store.milvus.token_rows import TokenRows, cells, require_rows

if TYPE_CHECKING:
    from sightline.store.index import BuildRequest, StoredIndex, Tail
    from sightline.store.milvus.connection import Connection
    from sightline.store.milvus.manifest_files import ManifestFiles
    from sightline.store.segments import SegmentReader
    from sightline.types import Half, Keys

OUTGROWN: Final = 4
"""An index that was made for so many times fewer images has too few cells."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Building:
    """Builds in one folder and on one server. ``tail`` makes an exact index of some images."""

    files: ManifestFiles
    connection: Connection
    tail: Callable[[Keys, Half], Tail]

    def build(self, reader: SegmentReader, request: BuildRequest) -> BuiltIndex:
        """See `sightline.store.index.IndexBackend`.

        A part whose rows could not be removed after an error is removed with the sweep of unfinished files.
        """
        images = Images.living(reader, request.segments, request.dead)
        base = self._base(images, request.serving)
        named = replace(base.named, parts=(*base.named.parts, secrets.randbits(62)))
        with self._begun(named):
            filled = self._filled(images, base, named, request)
            written = write_manifest(self.files.folder, self._tried(images, filled, request))
            named = read_manifest(self.files.folder / written.file).named
        covered = tuple(segment.id for segment in request.segments)
        count = len(images.keys)
        return BuiltIndex(*written, covered, count, named.recall, parameters(named, count))

    def _base(self, images: Images, serving: StoredIndex | None) -> Manifest:
        """What serves, when it can be grown; else one of nobody, in a collection that is still to be made.

        What is not whole is an error, and whoever asked may ask for a new one.
        """
        if serving is not None and serving.file.endswith(SUFFIX):
            manifest = read_manifest(self.files.folder / serving.file)
            named = manifest.named
            require_rows(TokenRows(self.connection, named.collection), named.parts, manifest.rows)
            if (named.queries, named.dim) == (images.queries, images.dim):
                return manifest
        rows = len(images.keys) * images.queries
        collection = f"sightline_{uuid.uuid4().hex}"
        fresh = Named(collection, (), images.queries, images.dim, nlist=cells(rows), made=len(images.keys))
        return Manifest(fresh, np.empty(0, np.int64), np.empty(0, np.int64))

    @contextmanager
    def _begun(self, named: Named) -> Iterator[None]:
        name = write_begun(self.files.folder, named)
        try:
            yield
        except BaseException:
            try:
                self.files.remove(name)
            except (IndexUnavailableError, CorruptionError) as error:
                log.warning("What a build inserted stays until it is swept: %s", error)
            raise
        self.files.remove_alone(name)

    def _filled(self, images: Images, base: Manifest, named: Named, request: BuildRequest) -> Manifest:
        """The server holds all rows of the images, and everybody sees them."""
        rows = TokenRows(self.connection, named.collection)
        if not base.named.index:
            named = replace(named, index=rows.create(named.dim, named.nlist))
        held = np.union1d(base.keys, base.hidden)
        # One that is back (it was in a segment that was lost for a while) has its rows still.
        new, hidden = np.setdiff1d(images.keys, held), np.setdiff1d(held, images.keys)
        for batch in images.of(new).batches():
            rows.insert(batch.keys, batch.tokens, named.parts[-1])
        # What serves may still count on what it does not hide itself.
        gone = np.intersect1d(hidden, request.dead if request.strict else base.hidden)
        rows.delete_keys(gone)
        if request.strict and len(request.dead):
            self._purge(rows, request.dead)
        hidden = np.setdiff1d(hidden, gone)
        manifest = Manifest(named, images.keys, hidden)
        rows.settle(named.parts, manifest.rows + len(hidden) * named.queries)
        return manifest

    def _purge(self, rows: TokenRows, dead: Keys) -> None:
        """Rows that others inserted and never named, too; `IndexUnavailableError` when some stay."""
        rows.delete_keys(dead)
        left = rows.count_keys(dead)
        if left:
            raise IndexUnavailableError(f"Milvus has {left} rows of pictures that were purged, still.")
        rows.compact()

    def _tried(self, images: Images, manifest: Manifest, request: BuildRequest) -> Manifest:
        """With what was measured on it."""
        named, texts = manifest.named, request.texts
        count = len(images.keys)
        if named.measured and count < MEASURED_AGAIN * named.measured:
            return manifest
        found = Measured(Effort(_many(named.nlist), named.fetch), 0.0, 0.0)
        if texts is None or not len(texts.vectors) or not count:
            return manifest if named.measured else _with(manifest, found, 0)
        rows = TokenRows(self.connection, named.collection)
        # Small ones are compared without asking; what is measured is to hold for what they grow to as well.
        index = MilvusIndex(manifest, rows, images.stored(), self.tail, found.effort, scanned=0)
        return _with(manifest, measured(index, images, texts, request.recall_target), count)


def _with(manifest: Manifest, found: Measured, count: int) -> Manifest:
    """What was measured at so many images."""
    probes, fetch = found.effort
    named = replace(manifest.named, probes=probes, fetch=fetch, measured=count)
    return replace(manifest, named=replace(named, recall=found.recall, recall10=found.recall10))


def parameters(named: Named, images: int) -> dict[str, object]:
    """What the catalog keeps, and people are told. ``retrain``: why it should be built anew."""
    outgrown = images >= OUTGROWN * max(1, named.made) and cells(images * named.queries) > named.nlist
    return {
        "collection": named.collection,
        "index": named.index,
        "cells": named.nlist,
        "probes": named.probes,
        "fetch": named.fetch,
        "recall": named.recall,
        "recall10": named.recall10,
        "measured_images": named.measured,
        "retrain": f"its index was made for {named.made:,} images" if outgrown else None,
    }


def _many(nlist: int) -> int:
    """Cells to look into when nothing was measured."""
    return max(min(8, nlist), nlist // 4)
