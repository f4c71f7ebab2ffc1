"""Picture files that a command names, decoded one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.imaging import Limits
    from sightline.types import RGB


def read_pictures(paths: Sequence[Path], limits: Limits) -> Iterator[RGB]:
    """Pixels uint8 ``[H,W,3]`` of each file. ImageRejected names one that cannot be read or decoded."""
    from sightline.errors import ImageRejected
    from sightline.reranker.inputs import read_rgb

    for path in paths:
        try:
            yield read_rgb(path, limits)
        except ImageRejected as error:
            if str(path) in error.detail:
                raise
            raise ImageRejected(error.reason, f"{path}: {error.detail}") from error
