"""The installation as the tools see it: which collections may be asked, and pictures to show."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from sightline.errors import CorruptionError, ImageRejected, InputError, NotFoundError
from sightline.integrations.pictures import from_base64
from sightline.rerank_records import PendingImage

if TYPE_CHECKING:
    from sightline.serving.writers import NamedModel
    from sightline.store.records import Collection
    from sightline.types import RGB
    from sightline.wiring import Installation


@dataclass(frozen=True)
class Picture:
    """A WebP file with the words that stand before it."""

    label: str
    data: bytes


@dataclass(frozen=True)
class Opened:
    """``names``: the collections that may be asked; empty: all. ``folders``: what may be indexed."""

    house: Installation
    names: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the server ends: what takes long looks at it."""

    def collections(self) -> list[Collection]:
        """Those that may be asked and are there."""
        found = self.house.catalog.collections()
        return [one for one in found if not self.names or one.name in self.names]

    def collection(self, name: str | None) -> Collection:
        """The one of this name, or (None) the only one.

        Raises:
            InputError: none was named, and there are several.
            NotFoundError: there is none of the name, or it may not be asked, or there are none at all.
        """
        here = self.collections()
        names = ", ".join(one.name for one in here[:20]) or "none"
        if name is None and len(here) > 1:
            raise InputError(f"Name one of the collections: {names}.")
        for one in here:
            if name in (None, one.name):
                return one
        if name is None:
            raise NotFoundError("There are no collections here yet; `sightline index` makes one.")
        raise NotFoundError(f"There is no collection {name!r} here; there are: {names}.")

    def answerer(self, collection: Collection) -> NamedModel | None:
        """The model that answers questions about a collection's pictures; None where none is set."""
        named = self.house.writer_names.answerer(collection)
        return None if self.house.served.find(named.model, named.revision) is None else named

    def captioner(self, collection: Collection) -> NamedModel | None:
        """The model that captions them; None where none is set."""
        named = self.house.writer_names.captioner(collection)
        return None if self.house.served.find(named.model, named.revision) is None else named

    def thumbnail(self, sha256: str, label: str) -> Picture | None:
        """A small picture of stored bytes; None where there is none (yet)."""
        try:
            return Picture(label, self.house.blobs.get_thumbnail(sha256))
        except (OSError, NotFoundError, CorruptionError):
            return None

    def given(self, images: Sequence[str]) -> list[PendingImage]:
        """Pictures in base64, which are decoded, each in a process of its own, when their turn comes.

        Raises:
            InputError: one is no base64.
        """
        return [self._given(place, text) for place, text in enumerate(images)]

    def _given(self, place: int, text: str) -> PendingImage:
        data = from_base64(text.rpartition("base64,")[2], f"Image {place}")
        return PendingImage(partial(self._decode, place, data), hashlib.sha256(data).hexdigest())

    def _decode(self, place: int, data: bytes) -> RGB:
        try:
            return self.house.decoder.decode(data).rgb
        except ImageRejected as error:
            raise ImageRejected(error.reason, f"Image {place}: {error.detail}") from error
