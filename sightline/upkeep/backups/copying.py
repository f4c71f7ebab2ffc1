"""Files from an installation into a backup, each compared with its checksum on the way, each only once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import CorruptionError, ImageRejected, ModelMismatchError, NotFoundError
from sightline.store.places import read_file
from sightline.store.thumbnail_seal import sealed
from sightline.upkeep.backups.contents import (
    CODECS,
    SEGMENTS,
    Contents,
    codec_path,
    original_folder,
    original_path,
    segment_path,
    thumbnail_folder,
    thumbnail_path,
)
from sightline.upkeep.backups.points import CodecEntry

if TYPE_CHECKING:
    from sightline.indexer.originals import Originals
    from sightline.store.blobs import BlobStore
    from sightline.store.codec_files import CodecFiles
    from sightline.store.places import Place
    from sightline.store.sql.backups import NamedSegment
    from sightline.store.sql.originals import Holder
    from sightline.types import OnProgress

COPIERS = 4
"""Small files that are copied at the same time: each waits for two disks or stores."""
AT_ONCE = 256
FOLDERS = 1024
"""Listings of folders of the place that are remembered."""


class _LostError(Exception):
    """What a catalog names is not there, or not what was written."""


@dataclass
class Copied:
    """``files`` and ``bytes`` are what was new to the place; the others count all that the catalog names."""

    files: int = 0
    bytes: int = 0
    segments: int = 0
    originals: int = 0
    thumbnails: int = 0
    references: int = 0
    codecs: list[CodecEntry] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, other: Copied) -> None:
        """What was copied in another look."""
        self.files += other.files
        self.bytes += other.bytes


class Copying:
    """One pass over one catalog. What the place has already, of the right length, is not copied again: it got
    its name there only after it had been compared.
    """

    def __init__(
        self,
        place: Place,
        blobs: BlobStore,
        originals: Originals,
        segments: Path,
        codecs: CodecFiles,
        show: OnProgress | None = None,
    ) -> None:
        self._place = place
        self._blobs = blobs
        self._originals = originals
        self._segments = segments
        self._codecs = codecs
        self._show = show
        self._listed: dict[str, dict[str, int]] = {}
        self._lock = threading.Lock()
        self._done = Copied()

    def all_of(self, contents: Contents, *, with_originals: bool) -> Copied:
        """Copy what is new.

        Raises:
            OSError, UnavailableError: the place cannot be written to.
        """
        for fingerprint in contents.catalog.fingerprints():
            self._copy_codecs(fingerprint)
        named = contents.segments()
        for number, segment in enumerate(named):
            self._tell("segments", number, len(named))
            self._copy_segment(segment)
        self._missing_codecs(named)
        self._copy_pictures(contents, with_originals=with_originals)
        return self._done

    def _copy_segment(self, segment: NamedSegment) -> None:
        self._done.segments += 1
        if self._sizes(SEGMENTS).get(segment.file) == segment.bytes:
            return
        source = self._segments / segment.file
        self._copy(segment_path(segment.file), lambda: _sound(read_file(source)), segment.sha256)

    def _copy_codecs(self, fingerprint: str) -> None:
        """All of a model: which of them is the latest matters to new images."""
        from sightline.blip.patch_codec import from_bytes

        for codec in reversed(self._codecs.codecs(fingerprint)):
            path = codec_path(fingerprint, codec)
            try:
                content = self._codecs.read(fingerprint, codec)
                from_bytes(content, id=codec, fingerprint=fingerprint)
            except (OSError, NotFoundError, CorruptionError, ModelMismatchError) as error:
                self._miss(path, error)
                continue
            sha256 = hashlib.sha256(content).hexdigest()
            if self._sizes(f"{CODECS}/{fingerprint}").get(path.rpartition("/")[2]) != len(content):
                self._put(path, [content], sha256)
            self._done.codecs.append(CodecEntry(fingerprint, codec, sha256))

    def _missing_codecs(self, named: Iterable[NamedSegment]) -> None:
        have = {(entry.fingerprint, entry.codec) for entry in self._done.codecs}
        wanted = {(one.fingerprint, one.codec) for one in named if one.codec.startswith("latent-")}
        for fingerprint, codec in sorted(wanted - have):
            path = codec_path(fingerprint, codec)
            if not any(said.startswith(path) for said in self._done.missing):
                self._miss(path, NotFoundError("It is not there."))

    def _copy_pictures(self, contents: Contents, *, with_originals: bool) -> None:
        total, done = contents.catalog.count_holders(), 0
        pictures = contents.pictures()
        with ThreadPoolExecutor(COPIERS, "backup") as copiers:
            while some := list(islice(pictures, AT_ONCE)):
                copies = [copiers.submit(self._copy_picture, holders, with_originals) for holders in some]
                for copy in copies:
                    copy.result()
                done += sum(len(holders) for holders in some)
                self._tell("originals", done, total)

    def _copy_picture(self, holders: tuple[Holder, ...], with_originals: bool) -> None:
        sha256, size = holders[0].sha256, holders[0].bytes
        stored = any(holder.stored for holder in holders)
        self._count("originals" if stored else "references")
        if (stored or with_originals) and self._sizes(original_folder(sha256)).get(sha256) != size:
            read = self._stored_original if stored else self._referenced_original
            self._copy(original_path(sha256), lambda: [read(holders)], sha256)
        if any(holder.state in ("live", "trashed") for holder in holders):
            self._count("thumbnails")
            if f"{sha256}.webp" not in self._sizes(thumbnail_folder(sha256)):
                self._copy(thumbnail_path(sha256), lambda: [self._thumbnail(sha256)], None)

    def _stored_original(self, holders: tuple[Holder, ...]) -> bytes:
        try:
            return self._blobs.get_sound(holders[0].sha256)
        except (NotFoundError, CorruptionError) as error:
            raise _LostError(str(error)) from error
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:
            raise _LostError(str(error)) from error

    def _referenced_original(self, holders: tuple[Holder, ...]) -> bytes:
        said = ""
        for holder in holders:
            try:
                return self._originals.read_checked(holder.uri, holder.sha256)
            except ImageRejected as error:
                said = said or error.detail
        raise _LostError(said)

    def _thumbnail(self, sha256: str) -> bytes:
        try:
            return sealed(self._blobs.get_thumbnail(sha256), sha256)
        except (ConnectionError, TimeoutError):
            raise
        except (OSError, NotFoundError, CorruptionError) as error:
            raise _LostError(str(error)) from error

    def _copy(self, path: str, source: Callable[[], Iterable[bytes]], sha256: str | None) -> None:
        try:
            self._put(path, source(), sha256)
        except (_LostError, CorruptionError) as error:
            self._miss(path, error)

    def _put(self, path: str, chunks: Iterable[bytes], sha256: str | None) -> None:
        length = self._place.put(path, chunks, sha256)
        with self._lock:
            self._done.files += 1
            self._done.bytes += length

    def _miss(self, path: str, error: Exception) -> None:
        with self._lock:
            self._done.missing.append(f"{path}: {error}")

    def _count(self, what: str) -> None:
        with self._lock:
            setattr(self._done, what, getattr(self._done, what) + 1)

    def _sizes(self, folder: str) -> dict[str, int]:
        """The files of a folder of the place, as they were when this pass came to it."""
        with self._lock:
            if folder not in self._listed:
                if len(self._listed) >= FOLDERS:
                    self._listed.clear()
                self._listed[folder] = self._place.sizes(folder)
            return self._listed[folder]

    def _tell(self, stage: str, done: int, total: int) -> None:
        if self._show is not None:
            self._show(stage, done, total)


def _sound(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same; trouble with reading is told from trouble with writing."""
    try:
        yield from chunks
    except OSError as error:
        raise _LostError(str(error)) from error
