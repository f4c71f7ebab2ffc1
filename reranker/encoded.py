"""Images that a model has seen, to be ranked for one text after another without being encoded again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import InputError
from sightline.reranker.forms import ImageInput
from sightline.reranker.records import SkippedImage

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Seen:
    """A batch of images as the model sees them."""

    indices: list[int]
    documents: list[ImageInput | None]
    patches: Tensor
    """``[B,P,V]``."""
    tokens: Tensor | None
    """``[B,Q,D]``; None: nobody has embedded them."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EncodedImages:
    """What `Reranker.encode` gives. It has as many items as images were passed in, and keeps their order.

    ``patches`` ``[N,P,V]`` and query tokens ``tokens`` ``[N,Q,D]`` (None where there is no encoder) are on
    the CPU, of those images that could be read; ``skipped`` has the others. ``documents`` is what was passed
    in.
    """

    patches: Tensor
    tokens: Tensor | None
    fingerprint: str
    """Of the model that encoded them, which alone can rank them."""
    documents: tuple[ImageInput | None, ...]
    skipped: tuple[SkippedImage, ...] = ()

    def __len__(self) -> int:
        return len(self.documents)

    def __getitem__(self, chosen: int | slice) -> EncodedImages:
        """Some of them, or one: always a collection, whose positions count from 0 again."""
        places = range(len(self))[chosen] if isinstance(chosen, slice) else [range(len(self))[chosen]]
        rows, skipped = self._rows(), {one.index: one for one in self.skipped}
        kept = [rows[place] for place in places if place in rows]
        return EncodedImages(
            self.patches[kept],
            None if self.tokens is None else self.tokens[kept],
            self.fingerprint,
            tuple(self.documents[place] for place in places),
            tuple(replace(skipped[p], index=new) for new, p in enumerate(places) if p in skipped),
        )

    def __repr__(self) -> str:
        return f"<EncodedImages: {len(self)} images, {self.nbytes / 1e6:,.1f} MB>"

    @property
    def nbytes(self) -> int:
        """How much memory patches and tokens take."""
        return self.patches.nbytes + (0 if self.tokens is None else self.tokens.nbytes)

    def to(self, device: str) -> EncodedImages:
        """The same on a device: when they fit its memory, ranking need not copy them there each time."""
        tokens = None if self.tokens is None else self.tokens.to(device)
        return replace(self, patches=self.patches.to(device), tokens=tokens)

    def save(self, path: str | PathLike[str]) -> None:
        """As a safetensors file, with those documents that are paths. InputError: it cannot be written."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        tensors = {"patches": self.patches.contiguous().cpu()}
        if self.tokens is not None:
            tensors["tokens"] = self.tokens.contiguous().cpu()
        paths = [fspath(one) if isinstance(one, (str, PathLike)) else None for one in self.documents]
        skipped = [(one.index, one.reason, one.detail) for one in self.skipped]
        said = {"fingerprint": self.fingerprint, "documents": paths, "skipped": skipped}
        try:
            save_file(tensors, path, {"sightline": json.dumps(said)})
        except (OSError, SafetensorError) as error:
            raise InputError(f"The file {path} cannot be written: {error}.") from error

    @classmethod
    def load(cls, path: str | PathLike[str]) -> EncodedImages:
        """What `save` has written. `InputError` when the file cannot be read or is another one."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(Path(path), "pt") as file:
                said = json.loads((file.metadata() or {})["sightline"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            documents = said["documents"]
            skipped = [SkippedImage(index, documents[index], *why) for index, *why in said["skipped"]]
            patches, tokens = tensors["patches"], tensors.get("tokens")
            found = cls(patches, tokens, said["fingerprint"], tuple(documents), tuple(skipped))
            if any(len(one) != len(found._rows()) for one in tensors.values()):
                raise ValueError("as many pictures as names")
        except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"The file {path} holds no encoded images.") from error
        return found

    def batches(self, size: int) -> Iterator[Seen]:
        """Those that could be read, in batches of ``size``."""
        places = list(self._rows())
        for start in range(0, len(places), size):
            chosen = places[start : start + size]
            rows = slice(start, start + size)
            tokens = None if self.tokens is None else self.tokens[rows]
            yield Seen(chosen, [self.documents[p] for p in chosen], self.patches[rows], tokens)

    def _rows(self) -> dict[int, int]:
        """Position to row of the tensors, of those that could be read."""
        skipped = {one.index for one in self.skipped}
        places = (place for place in range(len(self)) if place not in skipped)
        return {place: row for row, place in enumerate(places)}
