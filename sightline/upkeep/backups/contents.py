"""What a copied catalog names: the files of a backup, by their paths in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import CorruptionError, NotFoundError
from sightline.store.catalog import open_catalog
from sightline.store.places import gather
from sightline.store.portable import sqlite_url
from sightline.upkeep.backups.points import catalog_path
from sightline.upkeep.stored_bytes import contents

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.places import Place
    from sightline.store.sql.backups import NamedSegment
    from sightline.store.sql.originals import Holder

SEGMENTS = "segments"
ORIGINALS = "originals"
THUMBNAILS = "thumbnails"
CODECS = "codecs"


def segment_path(file: str) -> str:
    return f"{SEGMENTS}/{file}"


def codec_path(fingerprint: str, codec: str) -> str:
    return f"{CODECS}/{fingerprint}/{codec}.codec.safetensors"


def original_folder(sha256: str) -> str:
    return f"{ORIGINALS}/{sha256[:2]}"


def original_path(sha256: str) -> str:
    return f"{original_folder(sha256)}/{sha256}"


def thumbnail_folder(sha256: str) -> str:
    return f"{THUMBNAILS}/{sha256[:2]}"


def thumbnail_path(sha256: str) -> str:
    return f"{thumbnail_folder(sha256)}/{sha256}.webp"


class Contents:
    """The files that one exported catalog names."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def segments(self) -> list[NamedSegment]:
        """Of all feature sets, also of collections in the trash."""
        return self.catalog.named_segments()

    def pictures(self) -> Iterator[tuple[Holder, ...]]:
        """Each content once, with all images that want it."""
        for page in contents(self.catalog):
            yield from page


@contextmanager
def opened_contents(path: Path) -> Iterator[Contents]:
    """Of an exported catalog on this machine, for as long as the block lasts."""
    catalog = open_catalog(sqlite_url(path))
    try:
        yield Contents(catalog)
    finally:
        catalog.close()


@contextmanager
def fetched_catalog(place: Place, sha256: str) -> Iterator[Path]:
    """A point's catalog as a file of our own, compared with its checksum.

    Raises:
        CorruptionError: it is missing, or not what was written.
    """
    from sightline.store.durable import verify_file

    with tempfile.TemporaryDirectory(prefix="sightline-") as folder:
        path = Path(folder) / "catalog.sqlite"
        try:
            gather(place.chunks(catalog_path(sha256)), path)
            verify_file(path, sha256)
        except (FileNotFoundError, NotFoundError, CorruptionError) as error:
            raise CorruptionError(
                f"The catalog {catalog_path(sha256)} of this backup is missing or not what was written:"
                " choose another point with --point."
            ) from error
        yield path
