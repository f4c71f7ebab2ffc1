"""A server made to hold again what a manifest names: after it lost rows, or a collection, or has too many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import SightlineError
from sightline.store.index import SyncedIndex
from sightline.store.living_images import Images
from sightline.store.milvus.manifest import read_manifest
from sightline.store.milvus.token_rows import TokenRows, distinct, require_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sightline.store.index import CoveredSegment
    from sightline.store.milvus.connection import Connection
    from sightline.store.milvus.manifest import Manifest
    from sightline.store.milvus.manifest_files import ManifestFiles
    from sightline.store.segments import SegmentReader
    from sightline.types import Keys


@dataclass(frozen=True)
class Syncing:
    """Of one folder and one server."""

    files: ManifestFiles
    connection: Connection

    def sync(self, file: str, reader: SegmentReader, segments: Sequence[CoveredSegment]) -> SyncedIndex:
        """See `sightline.store.index.RemoteIndexBackend`."""
        manifest = read_manifest(self.files.folder / file)
        named = manifest.named
        rows = TokenRows(self.connection, named.collection)
        recreated = not rows.exists()
        if recreated:
            rows.create(named.dim, named.nlist)
        rows.load()
        counts, strange = _counted(rows, manifest)
        wrong = manifest.keys[counts != named.queries]
        strays = np.setdiff1d(self._nobodys(strange, file, named.collection), manifest.hidden)
        rows.delete_keys(np.union1d(strays, manifest.keys[(counts != named.queries) & (counts > 0)]))
        lacking = self._insert(rows, manifest, wrong, reader, segments) if len(wrong) else 0
        rows.settle(named.parts, manifest.rows - lacking * named.queries)
        if not lacking:
            require_rows(rows, named.parts, manifest.rows)
        return SyncedIndex(recreated, len(wrong) - lacking, len(strays), lacking)

    def _insert(
        self,
        rows: TokenRows,
        manifest: Manifest,
        wrong: Keys,
        reader: SegmentReader,
        segments: Sequence[CoveredSegment],
    ) -> int:
        """How many of these images no segment holds any more; all others are inserted."""
        images = Images.living(reader, segments, np.empty(0, np.int64))
        for batch in images.of(wrong).batches():
            rows.insert(batch.keys, batch.tokens, manifest.named.parts[-1])
        return int((~np.isin(wrong, images.keys)).sum())

    def _nobodys(self, strange: Keys, file: str, collection: str) -> Keys:
        """Those of these keys that no other manifest means; none while somebody builds there."""
        for name in self.files.stored() | self.files.swept():
            if name == file or not len(strange):
                continue
            try:
                other = read_manifest(self.files.folder / name)
            except (OSError, SightlineError):
                return np.empty(0, np.int64)
            if other.named.collection == collection:
                if not self.files.is_finished(name):
                    return np.empty(0, np.int64)
                strange = np.setdiff1d(strange, np.union1d(other.keys, other.hidden))
        return strange


def _counted(rows: TokenRows, manifest: Manifest) -> tuple[np.ndarray, Keys]:
    """Rows of each image ``[N]``, and the keys of other rows."""
    order = np.argsort(manifest.keys, kind="stable")
    ours = manifest.keys[order]
    counts = np.zeros(len(ours), np.int64)
    strange = np.empty(0, np.int64)
    for keys in rows.stored_keys():
        places = np.minimum(np.searchsorted(ours, keys), max(0, len(ours) - 1))
        known = ours[places] == keys if len(ours) else np.zeros(len(keys), np.bool_)
        np.add.at(counts, order[places[known]], 1)
        strange = np.union1d(strange, distinct(keys[~known]))
    return counts, strange
