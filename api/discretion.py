"""What a caller is shown of the machine behind the API: reasons with paths and hosts in them, and addresses.

A context variable, because it matters wherever an answer is written, and every request has a context of its
own. Outside of a request everything is shown. What is kept back stands in the log, under the request's id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sightline.errors import (
    AbandonedError,
    CatalogDamagedError,
    CheckpointError,
    CorruptionError,
    DeadlineError,
    FilterError,
    ModelUnavailableError,
    NoRoomError,
    OverloadedError,
    SightlineError,
    StoppingError,
    StorageError,
    UnavailableError,
)

UPLOADED = "blob:"
IN_THE_LOG = "The server's log has the reason."
HARMLESS = (OverloadedError, DeadlineError, AbandonedError, StoppingError)
"""Their sentences name nothing of the machine."""
GENERAL: tuple[tuple[type[SightlineError], str], ...] = (
    (CatalogDamagedError, "The catalog of this server is damaged; whoever runs it has to restore a backup."),
    (ModelUnavailableError, "A model cannot be loaded now."),
    (NoRoomError, "A disk of this server is full."),
    (StorageError, "A disk of this server cannot be written to now."),
    (UnavailableError, "Something that this server needs cannot be reached now."),
    (CorruptionError, "A stored file is not what was written."),
    (CheckpointError, "The files of this model cannot do what is asked of them."),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the caller of this request sees."""

    details: bool = True
    uris: bool = True


shown: ContextVar[Shown] = ContextVar("shown", default=Shown())  # noqa: B039  # it is frozen


def sentence(error: SightlineError) -> str:
    """What this caller is told of an error."""
    if shown.get().details or isinstance(error, HARMLESS):
        return str(error)
    general = next((text for kind, text in GENERAL if isinstance(error, kind)), None)
    if general is None and type(error) is SightlineError:
        general = "Something went wrong here."
    return str(error) if general is None else f"{general} {IN_THE_LOG}"


def shown_uri(image_id: str, uri: str) -> str:
    """Where a picture came from; its id where that is nobody's business."""
    return uri if shown.get().uris or uri.startswith(UPLOADED) else image_id


def shown_name(text: str) -> str:
    """A model or a source; of a folder or an address, only its last part where details are not shown."""
    if shown.get().details or not (text.startswith(("/", "~", ".", "(")) or "://" in text):
        return text
    return text.rstrip("/").rpartition("/")[2]


def refuse_hidden_fields(condition: Any) -> None:
    """A filter on what is not shown would tell it, letter by letter.

    Raises:
        FilterError: the filter asks for ``uri``.
    """
    if shown.get().uris:
        return
    if isinstance(condition, Mapping):
        if condition.get("field") == "uri":
            raise FilterError(
                "This server does not show where pictures came from, so no filter can ask for uri; "
                "SIGHTLINE_API__SHOW_URIS=true shows it."
            )
        for value in condition.values():
            refuse_hidden_fields(value)
    elif isinstance(condition, Sequence) and not isinstance(condition, str):
        for value in condition:
            refuse_hidden_fields(value)
