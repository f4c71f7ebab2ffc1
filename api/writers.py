"""Which models write for requests: those that are served, so that no stranger makes a server load others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.errors import InputError
from sightline.serving.writers import NamedModel

if TYPE_CHECKING:
    from sightline.api.parts import ApiParts
    from sightline.store.records import Collection


def served_answerer(parts: ApiParts, collection: Collection | None, asked: str | None) -> NamedModel:
    """The model that answers. InputError: it is not served here, or none is set."""
    if asked is not None:
        return _served(parts, asked)
    named = parts.writer_names.answerer(collection)
    if parts.served.find(named.model, named.revision) is None:
        raise InputError(
            "This server has no model that answers questions; SIGHTLINE_ANSWERER__MODEL names one."
        )
    return named


def served_captioner(parts: ApiParts, collection: Collection | None, asked: str | None) -> NamedModel:
    """The model that captions. InputError: it is not served here, or none is set."""
    if asked is not None:
        return _served(parts, asked)
    named = parts.writer_names.captioner(collection)
    if parts.served.find(named.model, named.revision) is None:
        raise InputError(
            "This server has no model that writes captions; SIGHTLINE_CAPTIONER__MODEL names one."
        )
    return named


def answers_here(parts: ApiParts, collection: Collection) -> bool:
    """Whether questions about a collection can be asked at all; asks no hub."""
    named = parts.writer_names.answerer(collection)
    return parts.served.find(named.model, named.revision) is not None


def _served(parts: ApiParts, asked: str) -> NamedModel:
    found = parts.served.find(asked)
    if found is None:
        raise InputError(f"The model {asked} is not served here; SIGHTLINE_API__MODELS lists those that are.")
    return NamedModel(found.model, found.revision)
