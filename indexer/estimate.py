"""How much disk a run will take, before it takes it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.indexer.manifests.addresses import Fetch
from sightline.indexer.roots import ARCHIVE_MARK
from sightline.indexer.sources.listing import SourceItem, iter_source

HALF_BYTES = 2
"""fp16."""
ROW_BYTES = 1_500
"""A row of the catalog with its indexes, roughly."""


@dataclass(frozen=True)
class Estimate:
    """Bytes that a run writes when all its images are new; ``originals``: copies of files of known size."""

    images: int
    patches: int
    tokens: int
    index: int
    thumbnails: int
    originals: int
    catalog: int
    free: int
    """What the disk of the segments has left now."""

    @property
    def total(self) -> int:
        return self.patches + self.tokens + self.index + self.thumbnails + self.originals + self.catalog

    @property
    def fits(self) -> bool:
        return self.total < self.free


@dataclass(frozen=True)
class Shape:
    """Of one embedded image: Q query tokens of width D, and the bytes that are kept of its patches."""

    num_query_tokens: int
    joint_dim: int
    patch_bytes: int

    @property
    def token_bytes(self) -> int:
        return self.num_query_tokens * self.joint_dim * HALF_BYTES


def count(
    sources: Sequence[str], *, copy: bool, own: Sequence[str] = (), fetch: Fetch | None = None
) -> tuple[int, int]:
    """Images in the sources, and the bytes to be copied of those whose size is cheap to know."""
    images = bytes_to_copy = 0
    for source in sources:
        for item in iter_source(source, allow_remote=True, own=own, fetch=fetch):
            if not isinstance(item, SourceItem):
                continue
            images += 1
            if copy and "://" not in item.uri and ARCHIVE_MARK not in item.uri:
                bytes_to_copy += _size(Path(item.uri))
    return images, bytes_to_copy


def estimate(images: int, originals: int, shape: Shape, thumbnail_bytes: int, folder: Path) -> Estimate:
    """The estimate for that many new images whose segments go into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    return Estimate(
        images=images,
        patches=images * shape.patch_bytes,
        tokens=images * shape.token_bytes,
        index=images * shape.token_bytes,
        thumbnails=images * thumbnail_bytes,
        originals=originals,
        catalog=images * ROW_BYTES,
        free=shutil.disk_usage(folder).free,
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
