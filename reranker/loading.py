"""The model of a reranker: one that is loaded, or one to load by its name."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import InputError
from sightline.reranker.inputs import checked_count

if TYPE_CHECKING:
    from sightline.blip.protocols import Encoder, Matcher


@dataclass(frozen=True, slots=True)
class Loading:
    """How a model is loaded; None: as ``sightline.blip.load`` thinks best."""

    device: str | None = None
    dtype: str | None = None
    revision: str | None = None
    cache_folder: str | PathLike[str] | None = None


def loaded(
    model: Matcher | str | PathLike[str], encoder: Encoder | None, options: Loading
) -> tuple[Matcher, Encoder | None]:
    """The model, and what embeds: ``encoder``, or else the model itself when it was loaded here and can.

    `InputError` for what is no model, and for options that can change nothing; else as
    ``sightline.blip.load``.
    """
    from sightline.blip import load
    from sightline.blip.protocols import Encoder, judging

    if not isinstance(model, (str, PathLike)):
        if not hasattr(model, "match"):
            kind = type(model).__name__
            raise InputError(f"A reranker needs a model that judges pairs, or the name of one, not {kind}.")
        if options != Loading():
            raise InputError("A model that is loaded stays as it is; options of loading need its name.")
        return model, encoder
    name = fspath(model)
    folder = None if options.cache_folder is None else Path(options.cache_folder)
    found = load(
        name, revision=options.revision, device=options.device, dtype=options.dtype, cache_dir=folder
    )
    matcher = judging(found, name)
    return matcher, matcher if encoder is None and isinstance(matcher, Encoder) else encoder


def check_length(model: Matcher, max_length: int | None) -> None:
    """`InputError` when a text would have to be cut shorter than the model reads."""
    if max_length is not None and checked_count("max_length", max_length, 1) < model.text_limit:
        raise InputError(f"This model reads {model.text_limit} tokens of a text; max_length can be no less.")
