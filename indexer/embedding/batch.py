"""The pictures of one task on their way from bytes to rows of a segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import ImageRejected
from sightline.indexer.codecs import Keeping, Kept

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.store.records import Image
    from sightline.types import Codes, Half


@dataclass
class Picture:
    """One distinct content. ``pixels [1,3,S,S]`` before the model; after it ``tokens [Q,D]`` and what is
    kept of the patches: fp16 ``[P,V]``, or codes ``[P,C]`` with ``scales [P]``.
    """

    width: int
    height: int
    pixels: Tensor | None = None
    tokens: Half | None = None
    patches: Half | Codes | None = None
    scales: Half | None = None

    def fill(self, tokens: Half, kept: Kept, row: int) -> None:
        """Take row ``row`` of what the model made of a batch."""
        self.tokens = tokens[row]
        self.patches = kept.patches[row] if kept.patches is not None else None
        self.scales = kept.scales[row] if kept.scales is not None else None


@dataclass
class Batch:
    """What is known so far. The same bytes under several ids are one picture and several rows."""

    images: Sequence[Image]
    keeping: Keeping
    """How the patches of all of them are kept."""
    pictures: dict[str, Picture | ImageRejected] = field(default_factory=dict)
    """By SHA-256."""
    refused: dict[int, ImageRejected] = field(default_factory=dict)
    """By key: images whose original could not be read, or is another one by now."""

    def unknown(self, image: Image) -> bool:
        """Whether this image's content is still to be decoded."""
        return image.sha256 not in self.pictures

    def outcome(self) -> tuple[list[tuple[Image, Picture]], list[tuple[int, str, str]]]:
        """Rows to write, and failures ``(key, reason, detail)``; together every image of the task once."""
        rows: list[tuple[Image, Picture]] = []
        failures: list[tuple[int, str, str]] = []
        for image in self.images:
            found = self.refused.get(image.key) or self.pictures[image.sha256]
            if isinstance(found, Picture):
                rows.append((image, found))
            else:
                failures.append((image.key, found.reason, found.detail))
        return rows, failures


def stacked(rows: Sequence[tuple[Image, Picture]]) -> tuple[Half, Kept]:
    """Tokens ``[N,Q,D]`` and what is kept of the patches of finished rows."""
    pictures = [picture for _, picture in rows]
    tokens = np.stack([one.tokens for one in pictures if one.tokens is not None])
    patches = [one.patches for one in pictures if one.patches is not None]
    scales = [one.scales for one in pictures if one.scales is not None]
    joined: Half | Codes | None = np.stack(patches) if patches else None  # type: ignore[assignment]
    return tokens, Kept(joined, np.stack(scales) if scales else None)
