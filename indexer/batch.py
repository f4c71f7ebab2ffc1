"""The pictures of one task on their way from bytes to rows of a segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from base.errors import ImageRejected

if TYPE_CHECKING:
    from torch import Tensor

    from indexer.encoding import Half
    from store.records import Image


@dataclass
class Picture:
    """One distinct content. ``pixels [1,3,S,S]`` before the model, ``tokens [Q,D]`` and ``patches
    [P,V]`` after.
    """

    width: int
    height: int
    pixels: Tensor | None = None
    tokens: Half | None = None
    patches: Half | None = None


@dataclass
class Batch:
    """What is known so far. The same bytes under several ids are one picture and several rows."""

    images: Sequence[Image]
    pictures: dict[str, Picture | ImageRejected] = field(default_factory=dict)
    """By SHA-256."""
    refused: dict[int, ImageRejected] = field(default_factory=dict)
    """By key: images whose original could not be read, or is another one by now."""

    def unknown(self, image: Image) -> bool:
        """Whether this image's content is still to be decoded."""
        return image.sha256 not in self.pictures

    def to_encode(self) -> list[tuple[str, Picture]]:
        """Contents that are decoded and have no tokens yet."""
        waiting = []
        for sha256, picture in self.pictures.items():
            if isinstance(picture, Picture) and picture.tokens is None:
                waiting.append((sha256, picture))
        return waiting

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


def stacked(rows: Sequence[tuple[Image, Picture]]) -> tuple[Half, Half | None]:
    """Tokens ``[N,Q,D]`` and patches ``[N,P,V]`` (None when none are kept) of finished rows."""
    tokens = np.stack([picture.tokens for _, picture in rows if picture.tokens is not None])
    patches = [picture.patches for _, picture in rows if picture.patches is not None]
    return tokens, np.stack(patches) if patches else None
