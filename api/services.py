"""What the API needs from the rest of the house; the roof's ``Services`` has it."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Protocol

from sightline.records import RerankRequest, RerankResponse, SearchRequest, SearchResponse

if TYPE_CHECKING:
    from sightline.api.settings import ApiSettings
    from sightline.imaging import Decoded
    from sightline.indexer import Upload, UploadLine
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection, Job


class ModelName(Protocol):
    """The part of the model settings that is read here: the model of new collections."""

    @property
    def name(self) -> str: ...


class ServingSettings(Protocol):
    """The part of the serving settings that is read here: how many requests may wait for the model."""

    @property
    def max_waiting(self) -> int: ...


class Settings(Protocol):
    """The part of the installation's settings that is read here."""

    @property
    def api(self) -> ApiSettings: ...

    @property
    def model(self) -> ModelName: ...

    @property
    def serving(self) -> ServingSettings: ...


class Decoder(Protocol):
    """Bytes to RGB in an isolated process; raises ImageRejected."""

    def decode(self, data: bytes) -> Decoded: ...


class Indexer(Protocol):
    """Jobs that bring pictures in. Registering reads a source: HTTP begins a job and registers behind it."""

    def begin(
        self,
        sources: Sequence[str],
        collection: str,
        *,
        copy: bool = False,
        prune: bool = False,
        roots: Sequence[str] | None = None,
    ) -> Job: ...

    def register(self, job_id: str) -> Job: ...

    def add(self, collection: str, uploads: Sequence[Upload]) -> tuple[Job, Sequence[UploadLine]]: ...

    def retry(self, job_id: str) -> Job: ...


@dataclass(frozen=True)
class ModelStatus:
    """Whether the served model can answer now, and one sentence for a person."""

    ready: bool
    detail: str


WAIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets in which waiting times are counted; one more takes what is beyond."""


client_gone: ContextVar[Event | None] = ContextVar("sightline_client_gone", default=None)
"""Set when the client of the current request has hung up; None where there is no such client."""


@dataclass(frozen=True)
class QueueFigures:
    """The queue in front of the model, now and since the process began."""

    requests: int
    """Requests that were let in and have not been answered."""
    turns: int
    """Their batches and texts that wait at this moment."""
    refused: int
    """Requests that found the queue full."""
    text_batches: int
    """Batches in which texts were encoded."""
    waits: tuple[int, ...]
    """Answered requests by how long they waited: one number for each of WAIT_SECONDS, then the rest."""
    waited_seconds: float
    """Seconds that all answered requests waited together."""
    busy_seconds: float
    """Seconds that the model's thread computed."""


class Services(Protocol):
    """The composition root, as seen from HTTP."""

    @property
    def settings(self) -> Settings: ...

    @property
    def catalog(self) -> Catalog: ...

    @property
    def blobs(self) -> BlobStore: ...

    @property
    def decoder(self) -> Decoder: ...

    @property
    def indexer(self) -> Indexer: ...

    def create_collection(self, name: str, model: str | None, revision: str | None) -> Collection:
        """Bind a collection to a model (None: our own). ModelMismatchError, ModelUnavailableError."""

    def search(self, request: SearchRequest) -> SearchResponse:
        """Raises NotFoundError, FilterError, ModelUnavailableError, OverloadedError."""

    def rerank_documents(self, request: RerankRequest) -> RerankResponse:
        """Raises NotFoundError, ConflictError, InputError, ModelUnavailableError, OverloadedError."""

    def model_status(self) -> ModelStatus:
        """Cheap and without blocking: asked by /readyz every few seconds."""

    def queue_figures(self) -> QueueFigures:
        """The queue in front of the model; never blocks."""
