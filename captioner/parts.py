"""What the fourth verb stands on: the roof wires the real things. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.checkpoint import Role
    from sightline.blip.latents import Latents
    from sightline.blip.patch_formats import PatchFormats
    from sightline.blip.protocols import Captioner, RetrievalModel, Vision
    from sightline.errors import ImageRejected
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection, Image
    from sightline.store.segments import SegmentReader
    from sightline.types import PatchLevel

Result = TypeVar("Result")


class Identified(Protocol):
    """A model without its weights in memory (``serving.models.WriterIdentity``)."""

    @property
    def model(self) -> str: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def fingerprint(self) -> str: ...


class Models(Protocol):
    """Models by name or collection, each loaded once (``serving.models.ModelProvider``)."""

    def identify_writer(self, model: str, role: Role, revision: str | None = None) -> Identified: ...

    def captioner(self, model: str, revision: str | None = None) -> Captioner: ...

    def encoder(self, collection: Collection) -> RetrievalModel: ...


class Transfer(Protocol):
    """Makes the patches of one model those of another that shares its image encoder."""

    def apply(self, patches: Tensor) -> Tensor:
        """``[K,P,V]`` to ``[K,P,V]``."""
        ...


class Sharing(Protocol):
    """Whether the patches that a collection keeps serve a writer."""

    def __call__(self, collection: Collection, writer: Identified) -> Transfer | None:
        """None: they do not; it needs to see the pictures itself."""
        ...


class Group(Protocol):
    """Patches of several images that are kept in one form (``reranker.records.PatchGroup``)."""

    @property
    def rows(self) -> Sequence[int]: ...
    @property
    def patches(self) -> Tensor | Latents: ...


class PatchSource(Protocol):
    """Patches of stored images for one model."""

    def patches(self, keys: Sequence[int]) -> Sequence[Group]:
        """Every position of ``keys`` in exactly one group. Raises ImageRejected: one cannot be had."""
        ...


class Patches(Protocol):
    """Patches of stored images (``searching.patches.PatchCache``)."""

    def of(self, collection: Collection, model: Vision) -> PatchSource: ...


class Encoded(Protocol):
    """What came of a few originals (``searching.reencoding.Reencoded``)."""

    @property
    def images(self) -> list[Image]: ...
    @property
    def patches(self) -> Tensor | None: ...
    @property
    def refused(self) -> list[tuple[Image, ImageRejected]]: ...


class Reencoding(Protocol):
    """Originals read, decoded and encoded, a few at a time (``searching.reencoding.Reencoding``)."""

    def encode(self, model: Vision, images: Sequence[Image]) -> Iterator[Encoded]: ...


class Originals(Protocol):
    """The registered bytes of images; raises ImageRejected (``indexer.originals.Originals``)."""

    def read(self, image: Image) -> bytes: ...


class Pulse(Protocol):
    """When some work last got on."""

    def patience(self) -> AbstractContextManager[None]: ...


class Heartbeat(Protocol):
    """Keeps a lease alive (``indexer.heartbeat.Heartbeat``)."""

    @property
    def pulse(self) -> Pulse: ...

    def check(self) -> None:
        """Raises LeaseLostError."""
        ...


class Checked(Protocol):
    """The right to list a job's images, for as long as ``check`` raises nothing."""

    def check(self) -> None: ...


ListingLease = Callable[[str], AbstractContextManager[Checked]]
"""The right to list, by a job's id; ConflictError: somebody else does."""
Send = Callable[[Sequence[int]], None]
"""Tells the workers about tasks; UnavailableError when nobody can be told."""


class Admitted(Protocol):
    """One request that waits for its turns at the model (``serving.scheduler.Admission``)."""

    def turn(self, run: Callable[[], Result]) -> Result: ...


class Line(Protocol):
    """The queue in front of the model (``serving.scheduler.Scheduler``)."""

    def admit(self) -> AbstractContextManager[Admitted]: ...


@dataclass(frozen=True)
class CaptionerParts:
    """What the tasks of this verb touch."""

    catalog: Catalog
    segments: SegmentReader
    formats: PatchFormats
    models: Models
    patches: Patches
    reencoding: Reencoding
    sharing: Sharing
    patch_codec: PatchLevel = "fp16"
    """How patches are kept (``SIGHTLINE_INDEXER__PATCH_CODEC``)."""
    batch: int | None = None
    """Pictures that are captioned together; by the device when not given."""
