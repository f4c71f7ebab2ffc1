"""What a picture leaves in files: the oracle of whatever promises that nothing is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sightline.store.blobs import BlobStore
from sightline.store.catalog import Catalog
from sightline.store.records import Image
from sightline.store.segments import SegmentReader


@dataclass(frozen=True)
class Traces:
    """What one picture leaves, by what it is."""

    found: Mapping[str, bytes] = field(default_factory=dict)

    def files(self, folder: Path) -> dict[str, list[str]]:
        """What it is → the files that hold it."""
        contents = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        return {
            what: [str(path.relative_to(folder)) for path, content in contents.items() if data in content]
            for what, data in self.found.items()
        }


def bytes_of(catalog: Catalog, segments: SegmentReader, blobs: BlobStore, image: Image) -> dict[str, bytes]:
    """Its tokens, patches, original and thumbnail, read from where they are now."""
    place = catalog.locations([image.key])[image.key]
    content = segments.read(place.file)
    assert content.patches is not None
    return {
        "tokens": content.tokens[place.row].tobytes(),
        "patches": content.patches[place.row].tobytes(),
        "original": blobs.get(image.sha256),
        "thumbnail": blobs.get_thumbnail(image.sha256),
    }
