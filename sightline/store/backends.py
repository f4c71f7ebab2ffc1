"""The index backends by kind: the one place that names them. A new kind is one more entry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sightline.store.flat import FlatBackend
from sightline.store.index import Indexes
from sightline.store.records import FLAT

if TYPE_CHECKING:
    from sightline.store.index import Device


def open_indexes(folder: Path | str, device: Device = "auto") -> Indexes:
    """All kinds, whose files lie in ``folder`` (a local or shared POSIX folder, made when first written to).

    ``device`` is where they search. Opens nothing; FAISS is imported when something is searched or built.
    """
    return Indexes({FLAT: FlatBackend(folder, device)}, default=FLAT)
