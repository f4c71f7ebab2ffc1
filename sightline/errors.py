"""The one exception tree.

Every message is one sentence for a person: what was wrong and what to do. The edges (HTTP, command line)
translate the classes once; nothing below them knows status or exit codes.

    SightlineError
    ├── InputError             what the caller gave cannot be used
    │   ├── NotJsonError       a text that should be JSON and is not
    │   ├── FilterError        a metadata filter that cannot be understood
    │   ├── SourceError        a source that cannot be listed or read
    │   ├── ImageRejected      bytes that are no usable picture
    │   └── CheckpointError    a model folder that cannot do what is asked
    ├── NotFoundError          no such collection, image or job
    │   ├── NoCatalogError     nothing was ever indexed here
    │   └── NoCollectionError  the catalog has no collection of that name
    ├── ConflictError          the request contradicts what is stored
    │   └── ModelMismatchError the collection is bound to another model
    ├── UnavailableError       something this needs cannot be reached now
    │   ├── CatalogDamagedError the database's file is not what was written
    │   ├── ModelUnavailableError
    │   ├── IndexUnavailableError  the server of an index is away: every image is compared instead
    │   ├── OverloadedError   too many requests wait already
    │   ├── DeadlineError      the time that a request had is up
    │   ├── StoppingError      this process ends
    │   ├── AbandonedError     whoever asked does not wait for the answer any more
    │   └── StorageError       what has to be written cannot be written now
    │       └── NoRoomError    … because the disk is full
    ├── CorruptionError        a stored file is not what was written
    └── LeaseLostError         another worker owns this batch now
"""

from __future__ import annotations


class SightlineError(Exception):
    """Root of every error that this project raises on purpose."""

    code = "error"


class InputError(SightlineError):
    """What the caller gave cannot be used."""

    code = "invalid-input"


class NotJsonError(InputError):
    """A text that should be JSON and is not; the message says what is wrong in it, and where."""


class FilterError(InputError):
    """A metadata filter that cannot be understood."""

    code = "invalid-filter"


class SourceError(InputError):
    """A source that cannot be listed or read."""

    code = "invalid-source"


class ImageRejected(InputError):
    """Bytes that are no usable picture: ``reason`` is a short code, ``detail`` a sentence."""

    code = "image-rejected"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[ImageRejected], tuple[str, str]]:
        # Crosses a process border: the default would call the class with the joined message alone.
        return (type(self), (self.reason, self.detail))


class CheckpointError(InputError):
    """A model folder that cannot do what is asked of it."""

    code = "invalid-checkpoint"


class NotFoundError(SightlineError):
    """No such collection, image or job."""

    code = "not-found"


class NoCatalogError(NotFoundError):
    """Nothing was ever indexed here: ``missing`` says what is not there, as the end of a sentence."""

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"There is nothing yet: {missing}; `sightline index FOLDER -c NAME` makes it, and --data or "
            "SIGHTLINE_DATA names another."
        )
        self.missing = missing

    def __reduce__(self) -> tuple[type[NoCatalogError], tuple[str]]:
        return (type(self), (self.missing,))


class NoCollectionError(NotFoundError):
    """The catalog has no collection of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no collection {name!r}.")
        self.name = name

    def __reduce__(self) -> tuple[type[NoCollectionError], tuple[str]]:
        return (type(self), (self.name,))


class ConflictError(SightlineError):
    """The request contradicts what is stored."""

    code = "conflict"


class ModelMismatchError(ConflictError):
    """The collection is bound to another model."""

    code = "model-mismatch"


class UnavailableError(SightlineError):
    """Something this needs cannot be reached now."""

    code = "unavailable"


class CatalogDamagedError(UnavailableError):
    """The database's file is not what was written; only a backup helps."""

    code = "catalog-damaged"


class ModelUnavailableError(UnavailableError):
    """Neither a folder nor a reachable hub repository."""

    code = "model-unavailable"


class IndexUnavailableError(UnavailableError):
    """The server that an index lies on does not answer, or not as it should; searches go on without it."""


class OverloadedError(UnavailableError):
    """Too many requests wait already; the same request may succeed a little later."""

    code = "overloaded"


class DeadlineError(UnavailableError):
    """The time that a request had was up before the model was free for it."""

    code = "deadline"


class StoppingError(UnavailableError):
    """This process is being stopped; another, or the next one, answers."""


class AbandonedError(UnavailableError):
    """Whoever asked does not wait for the answer any more, so nothing is computed for it."""

    code = "abandoned"


class StorageError(UnavailableError):
    """What has to be written cannot be written now: nobody's fault but the disk's."""

    code = "storage"


class NoRoomError(StorageError):
    """A disk is full, or a quota used up."""

    code = "no-room"


class CorruptionError(SightlineError):
    """A stored file is not what was written."""

    code = "corruption"


class LeaseLostError(SightlineError):
    """Another worker owns this batch now; what was computed for it is discarded."""

    code = "lease-lost"
