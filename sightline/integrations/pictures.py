"""Which picture a document of somebody else's library names, and ranking such documents by their pictures."""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from sightline.errors import InputError

if TYPE_CHECKING:
    from sightline.integrations.doors import Errors, RanksPictures
    from sightline.reranker.forms import ImageInput

log = logging.getLogger(__name__)
_DATA: Final = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


@dataclass(frozen=True)
class Judged:
    """One of the documents in its new order: its ``place`` among those given, and its match probability."""

    place: int
    match_probability: float


def picture_in(metadata: Mapping[str, Any], keys: Sequence[str]) -> ImageInput | None:
    """The picture under the first of ``keys`` that is there: a path, a URI, bytes, a PIL image, an array."""
    for key in keys:
        value = metadata.get(key)
        if isinstance(value, str):
            if value:
                return named_picture(value)
        elif value is not None:
            found: ImageInput = value  # whatever it is: the reranker says what it cannot take
            return found
    return None


def picture_unless_skipped(read: Callable[[], ImageInput | None], errors: Errors) -> ImageInput | None:
    """What ``read`` finds; where it raises InputError, None if such are left out."""
    try:
        return read()
    except InputError as error:
        if errors == "raise":
            raise
        log.warning("Skipped: %s", error)
        return None


def named_picture(name: str) -> str | bytes:
    """The path of a ``file:`` URI, the bytes of a ``data:`` URI; anything else is a path as it is."""
    if name[:5].lower() == "file:":
        return unquote(urlsplit(name).path)
    head = _DATA.match(name)
    return name if head is None else from_base64(name[head.end() :], "The data URI of a picture")


def from_base64(text: str, what: str) -> bytes:
    """The bytes; white space may stand between. ``what`` it is, as the sentence of the InputError begins."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{what} does not hold valid base64.") from error


def judge(
    reranker: RanksPictures,
    query: str,
    pictures: Sequence[ImageInput | None],
    top_n: int | None,
    errors: Errors,
    what: str,
    keys: Sequence[str],
) -> list[Judged]:
    """The best ``top_n`` of ``pictures`` (None: all), by falling match probability.

    ``what`` has these pictures, and under which ``keys`` they were looked for, is said of one that is None.
    Errors as of `sightline.Reranker.rank`, and InputError for one that is None.
    """
    there = [(place, picture) for place, picture in enumerate(pictures) if picture is not None]
    if errors == "raise" and len(there) < len(pictures):
        lost = next(place for place, picture in enumerate(pictures) if picture is None)
        raise InputError(
            f"{what} {lost} names no picture (looked for: {', '.join(keys)}); name one, or leave such out "
            "with errors='skip'."
        )
    if not there:
        return []
    ranked = reranker.rank(query, [picture for _, picture in there], score="itm", errors=errors)
    # As POST /rerank has it: by the probability, in which both logits count; ties as they were ranked.
    ordered = sorted(ranked, key=lambda one: -one.match_probability)
    return [Judged(there[one.index][0], one.match_probability) for one in ordered[:top_n]]
