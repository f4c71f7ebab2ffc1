"""What all parts of an installation stand on: what it is given, and the pillars as its settings want them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.data_folder import CATALOG
from sightline.errors import NoCatalogError, UnavailableError
from sightline.lazy import is_made, once

if TYPE_CHECKING:
    from sightline.blip.patch_formats import PatchFormats
    from sightline.fetching.client import Fetcher
    from sightline.fetching.network import Resolve
    from sightline.imaging import IsolatedDecoder
    from sightline.indexer.parts import Send
    from sightline.serving.models import Models
    from sightline.settings import Settings
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.catalog_lock import CatalogLock
    from sightline.store.codec_verdicts import CodecVerdicts
    from sightline.store.index import Indexes
    from sightline.store.ownership import Place
    from sightline.store.sample_text_files import SampleTextFiles
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)

DATA_FOLDER = "The data folder (--data, SIGHTLINE_DATA)"


@dataclass(frozen=True, kw_only=True)
class Given:
    """What an installation does not make itself; `sightline.wiring.open_installation` says what each is."""

    models: Models | None
    catalog: Catalog | None
    decoder: IsolatedDecoder | None
    send: Send | None
    after_send: Callable[[], None] | None
    inline: bool
    now: Callable[[], float] | None
    resolve: Resolve | None = None
    create: bool = True


class Pillars:
    """Whatever outlives the process, and the decoder. Thread-safe."""

    def __init__(self, settings: Settings, given: Given) -> None:
        self.settings = settings
        self.given = given
        self.lock = threading.RLock()
        self._has_claimed = False

    def close(self) -> None:
        """Give back what this made: decoder processes and database connections."""
        if is_made(self, "decoder") and self.given.decoder is None:
            self.decoder.close()
        if is_made(self, "catalog") and self.given.catalog is None:
            self.catalog.close()
        if is_made(self, "catalog_lock"):
            self.catalog_lock.close()

    @once
    def catalog_lock(self) -> CatalogLock:
        """Keeps a restore and all others apart."""
        from sightline.store.catalog_lock import CatalogLock
        from sightline.store.portable import sqlite_file

        return CatalogLock(sqlite_file(self.settings.catalog_url))

    def make_data_folder(self) -> None:
        """Unless it is there: that below a user's home for nobody else, as their pictures are.

        InputError: it cannot be one. StorageError: the disk refuses.
        """
        from sightline.data_folder import user_folder
        from sightline.store.storage import make_folder

        folder = self.settings.data_folder
        make_folder(folder, DATA_FOLDER, mode=0o700 if folder == user_folder() else 0o777)

    def _missing(self) -> str | None:
        """Why there is no catalog yet, as the end of a sentence; a server's is seen when it is asked."""
        from sightline.store.ownership import require_catalog
        from sightline.store.portable import sqlite_file
        from sightline.store.sqlite import has_tables
        from sightline.store.storage import has_folder

        file, folder = sqlite_file(self.settings.catalog_url), self.settings.data_folder
        if self.settings.database_url:
            return None if file is None or has_tables(file) else f"the catalog {file} does not exist yet"
        if not has_folder(folder, DATA_FOLDER):
            return f"the data folder {folder} does not exist yet"
        require_catalog(folder, folder / CATALOG)
        return None if has_tables(folder / CATALOG) else f"the data folder {folder} holds no catalog"

    @once
    def catalog(self) -> Catalog:
        """The catalog, migrated to this version's schema.

        Raises:
            InputError: the data folder cannot be one.
            NoCatalogError: there is none yet, and this installation makes none.
            UnavailableError: a restore is under way, or the disk refuses.
        """
        if self.given.catalog is not None:
            return self.given.catalog
        from sightline.store.catalog import open_catalog
        from sightline.store.ownership import require_catalog

        if not self.given.create:
            missing = self._missing()
            if missing is not None:
                raise NoCatalogError(missing)
        elif not self.settings.database_url:
            self.make_data_folder()
        self.catalog_lock.share()
        if not self.settings.database_url:
            require_catalog(self.settings.data_folder, self.settings.data_folder / CATALOG)
        return open_catalog(
            self.settings.catalog_url, migrate=True, now=self.given.now, settings=self.settings.database
        )

    @once
    def blobs(self) -> BlobStore:
        """Copied originals and thumbnails."""
        from sightline.store.blobs import BlobStore

        return BlobStore(self.settings.originals_url)

    @once
    def segments(self) -> SegmentReader:
        """Reads published segments."""
        from sightline.store.segments import SegmentReader
        from sightline.store.storage import make_folder

        make_folder(self.settings.segments_folder, "The folder of the segments (SIGHTLINE_SEGMENTS)")
        return SegmentReader(
            self.settings.segments_folder, sha256_of=lambda file: self.catalog.segment_sha256(file)
        )

    @once
    def places(self) -> list[Place]:
        """The folders that this installation writes to, whosever they are."""
        from sightline.store.blobs import ORIGINALS
        from sightline.store.ownership import Place, places_of

        settings = self.settings
        places = [Place("data", settings.data_folder)]
        if not settings.originals:
            places.append(Place(ORIGINALS, settings.data_folder / "originals"))
        return places + places_of(self.catalog, settings.segments_folder, self.indexes)

    def claim_folders(self) -> None:
        """Called before the first write: all folders are this installation's, or become so. Twice is once.

        Only the place that ``SIGHTLINE_ORIGINALS`` names may be shared: its files are named by their content.

        Raises:
            ConflictError: one of them belongs to another installation.
        """
        with self.lock:
            if not self._has_claimed:
                self._claim_folders()
            self._has_claimed = True

    def _claim_folders(self) -> None:
        from sightline.store.ownership import claim_all

        installation = self.catalog.installation_id()
        claim_all(self.places, installation)
        if self.settings.originals:
            try:
                self.blobs.claim(installation)
            except (UnavailableError, OSError) as error:
                # It may be back soon, or be read only; whoever removes something asks again.
                log.warning("The originals cannot be marked as this installation's: %s", error)

    @once
    def formats(self) -> PatchFormats:
        """The forms in which segments store patches, with the fitted codecs that they name."""
        from sightline.blip.patch_formats import PatchFormats
        from sightline.store.codec_files import CodecFiles

        return PatchFormats(CodecFiles(self.settings.segments_folder))

    @once
    def sample_texts(self) -> SampleTextFiles:
        """Vectors of what users ask of each collection, or might ask."""
        from sightline.store.sample_text_files import SampleTextFiles

        return SampleTextFiles(self.settings.segments_folder)

    @once
    def codec_verdicts(self) -> CodecVerdicts:
        """Which of them large collections were given."""
        from sightline.store.codec_verdicts import CodecVerdicts

        return CodecVerdicts(self.settings.segments_folder)

    @once
    def indexes(self) -> Indexes:
        """The index backends."""
        from sightline.store.backends import open_indexes
        from sightline.store.milvus.connection import MilvusServer

        asked = self.settings.retriever
        server = MilvusServer(
            asked.milvus_uri,
            asked.milvus_token,
            asked.milvus_database,
            asked.milvus_index,
            asked.milvus_seconds,
        )
        return open_indexes(
            self.settings.generations_folder,
            asked.device,
            asked.index,
            asked.index_memory_bytes,
            server if asked.milvus_uri else None,
        )

    @once
    def decoder(self) -> IsolatedDecoder:
        """Bytes to pixels, in processes of their own that start with the first picture."""
        if self.given.decoder is not None:
            return self.given.decoder
        return self.decoders(self.settings.decoding.processes)

    def decoders(self, processes: int) -> IsolatedDecoder:
        """So many decode processes of their own; whoever asks closes them."""
        from sightline.imaging import IsolatedDecoder

        tries = self.settings.decoding.max_tries
        return IsolatedDecoder(self.settings.imaging, processes=processes, max_tries=tries)

    @once
    def fetcher(self) -> Fetcher | None:
        """The one client for pictures on the web; None when they are not fetched here."""
        if not self.settings.fetch.enabled:
            return None
        from sightline.fetching.client import Fetcher
        from sightline.fetching.network import system_resolver
        from sightline.imaging.formats import broken_format

        resolve = self.given.resolve or system_resolver
        return Fetcher(self.settings.fetch, lambda head: broken_format(head) is not None, resolve=resolve)
