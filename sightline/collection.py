"""One collection as an object: index, search, delete, in a few lines and without a server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image as Picture

    from sightline.hits import Hits
    from sightline.queries import Query
    from sightline.store.records import Image
    from sightline.store.trash_records import Restored
    from sightline.wiring import Installation

Filter = Mapping[str, Any]
Source = str | os.PathLike[str]
QueryImage = Any
"""A picture to ask with: a path, bytes, a PIL image, an RGB array [H,W,3] uint8."""


class Collection:
    """A named set of pictures in a data folder. A context manager; opens its folder at the first use."""

    def __init__(self, name: str, *, data: Source | None = None, model: str | None = None) -> None:
        """``data``: the data folder, else that of ``SIGHTLINE_DATA`` and the command line. ``model``: of a
        new collection, a hub id, a folder or ``demo``; else the installation's. Nothing is read yet.
        """
        raise NotImplementedError

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the model's thread, decoder processes and database connections."""

    @property
    def installation(self) -> Installation:
        """All parts: ``.installation.search``, ``.indexer``, ``.catalog`` and the rest."""
        raise NotImplementedError

    def index(
        self, source: Source | Sequence[Source] | Any, *, copy: bool = False, prune: bool = False,
        prune_limit: str | None = None, id_prefix: str = "",
    ) -> Any:
        """A folder, file, glob, archive, manifest, several of these, or a DataFrame: until it is searchable."""
        raise NotImplementedError

    def add(self, frame: Any) -> Any:
        """The rows of a DataFrame: `index` of it."""
        raise NotImplementedError

    def search(
        self, text: str | Query = "", *, image: QueryImage | None = None, k: int = 10, offset: int = 0,
        filter: Filter | None = None, candidates: int = 100, rerank: bool = True,
        min_probability: float | None = None,
    ) -> Hits:
        """The best ``k`` pictures for a text, a picture, or both."""
        raise NotImplementedError

    def search_batch(
        self, texts: Sequence[str], *, k: int = 10, filter: Filter | None = None, candidates: int = 100,
        rerank: bool = True, min_probability: float | None = None,
    ) -> list[Hits]:
        """As `search` for each text, in order; the texts are encoded together."""
        raise NotImplementedError

    def similar(
        self, image: QueryImage | None = None, *, id: str | None = None, k: int = 10,
        filter: Filter | None = None,
    ) -> Hits:
        """Pictures like one: a file, bytes, a PIL image, or by ``id`` an image of this collection."""
        raise NotImplementedError

    def delete(self, *, ids: Sequence[str] | None = None, filter: Filter | None = None) -> int:
        """Move images to the trash; how many."""
        raise NotImplementedError

    def restore(self, ids: Sequence[str] | None = None) -> Restored:
        """Bring images back from the trash; None: all."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def get(self, id: str) -> Image:
        """One image: ``image_id``, ``uri``, ``caption``, ``metadata``, ``width``, ``height``."""
        raise NotImplementedError

    def images(self, filter: Filter | None = None) -> Iterator[Image]:
        """Live images, oldest first, read page by page."""
        raise NotImplementedError

    def open(self, id: str) -> Picture:
        """The picture upright in sRGB, as a PIL image."""
        raise NotImplementedError

    def read(self, id: str) -> bytes:
        """The registered bytes of the original."""
        raise NotImplementedError

    def thumbnail(self, id: str) -> Picture:
        """A small picture, as a PIL image."""
        raise NotImplementedError

    def to_frame(self, filter: Filter | None = None) -> DataFrame:
        """A row for each live image: id, uri, caption, and a column for each field of the metadata."""
        raise NotImplementedError
