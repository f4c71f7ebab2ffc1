"""Generations on a Milvus server (docs/milvus.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import IndexUnavailableError, SightlineError
from sightline.store.durable import FileMissingError, verify_file
from sightline.store.index import IndexReport
from sightline.store.milvus.building import Building
from sightline.store.milvus.connection import Connection, LostRowsError, MilvusServer
from sightline.store.milvus.manifest import read_manifest
from sightline.store.milvus.manifest_files import ManifestFiles
from sightline.store.milvus.milvus_index import SCANNED, Effort, MilvusIndex
from sightline.store.milvus.syncing import Syncing
from sightline.store.milvus.token_rows import TokenRows, distinct, require_rows
from sightline.store.records import MILVUS
from sightline.store.traces import erase_files

if TYPE_CHECKING:
    from sightline.store.index import (
        BuildRequest,
        BuiltIndex,
        CoveredSegment,
        StoredTokens,
        SyncedIndex,
        Tail,
    )
    from sightline.store.segments import SegmentReader
    from sightline.types import Half, Keys


class MilvusBackend:
    """See `sightline.store.index.RemoteIndexBackend`.

    ``tail`` makes an exact index of some images; up to ``scanned`` allowed ones are compared without Milvus.
    """

    def __init__(
        self,
        folder: Path | str,
        server: MilvusServer,
        tail: Callable[[Keys, Half], Tail],
        scanned: int = SCANNED,
    ) -> None:
        self._folder = Path(folder)
        self._connection = Connection(server)
        self._tail = tail
        self._scanned = scanned
        self.files = ManifestFiles(self._folder, self._connection)
        self._building = Building(self.files, self._connection, tail)
        self._syncing = Syncing(self.files, self._connection)

    @property
    def exact(self) -> bool:
        """Never."""
        return False

    def build(self, reader: SegmentReader, request: BuildRequest) -> BuiltIndex:
        """Streams. `IndexUnavailableError` when the server is away: what is left then is known as begun."""
        return self._building.build(reader, request)

    def open(self, file: str, sha256: str, tokens: StoredTokens | None = None) -> MilvusIndex:
        """Without ``tokens`` the server is not asked. `IndexUnavailableError` when it is away."""
        self._verify_file(file, sha256)
        manifest = read_manifest(self._folder / file)
        named = manifest.named
        rows = TokenRows(self._connection, named.collection)
        if tokens is not None:
            require_rows(rows, named.parts, manifest.rows)
        effort = Effort(named.probes, named.fetch)
        return MilvusIndex(manifest, rows, tokens, self._tail, effort, self._scanned)

    def tail(self, keys: Keys, tokens_NQD: Half) -> Tail:
        """Without Milvus."""
        return self._tail(keys, tokens_NQD)

    def verify(self, file: str, sha256: str, *, quick: bool = False) -> None:
        """Counts rows on the server, unless ``quick``. `IndexUnavailableError` when it is away."""
        if quick:
            if not (self._folder / file).exists():
                raise FileMissingError(f"The file {file} is missing from {self._folder}.")
            return
        self._verify_file(file, sha256)
        manifest = read_manifest(self._folder / file)
        named = manifest.named
        require_rows(TokenRows(self._connection, named.collection), named.parts, manifest.rows)

    def report(self, file: str, sha256: str) -> IndexReport:
        """Reads the key of every row."""
        path = self._folder / file
        try:
            self.verify(file, sha256)
            manifest = read_manifest(path)
            lost = self._lost(TokenRows(self._connection, manifest.named.collection), manifest.keys)
            if lost:
                raise LostRowsError(f"Milvus has no rows of {lost} images: run `sightline generations sync`.")
            return IndexReport(MILVUS, manifest.keys, path.stat().st_size)
        except (OSError, SightlineError) as error:
            return IndexReport(MILVUS, np.empty(0, np.int64), 0, str(error))

    def erase(self, keys: Keys) -> None:
        """Manifests that hold a key, and rows of these keys in what the others name."""
        erase_files(self.files, keys)
        for name in self.files.hiding(keys):
            self.files.remove(name)
            self.files.remove_swept(name)
        for collection in self.files.collections():
            rows = TokenRows(self._connection, collection)
            try:
                rows.delete_keys(keys)
                left = rows.count_keys(keys)
            except LostRowsError:
                continue
            if left:
                raise IndexUnavailableError(f"Milvus has {left} rows of pictures that were purged, still.")

    def remove(self, file: str) -> None:
        """With the rows that no other manifest names. `IndexUnavailableError` when the server is away."""
        self.files.remove(file)

    def sync(self, file: str, reader: SegmentReader, segments: Sequence[CoveredSegment]) -> SyncedIndex:
        """See `sightline.store.index.RemoteIndexBackend`."""
        return self._syncing.sync(file, reader, segments)

    def _verify_file(self, file: str, sha256: str) -> None:
        path = self._folder / file
        verify_file(path, sha256)

    def _lost(self, rows: TokenRows, keys: Keys) -> int:
        left = np.sort(keys)
        for page in rows.stored_keys():
            left = np.setdiff1d(left, distinct(page), assume_unique=True)
        return len(left)
