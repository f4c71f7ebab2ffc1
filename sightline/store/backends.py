"""The index backends by kind: the one place that names them. A new kind is one more entry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import InputError
from sightline.store.flat import MEMORY_BYTES, FlatBackend
from sightline.store.flat.devices import FaissGpu
from sightline.store.index import Indexes
from sightline.store.ivf import IvfBackend
from sightline.store.records import FLAT, IVF_RABITQ, IVF_SQ8

if TYPE_CHECKING:
    from sightline.store.index import Device, IndexBackend


def open_indexes(
    folder: Path | str, device: Device = "auto", kind: str = FLAT, memory_bytes: int = MEMORY_BYTES
) -> Indexes:
    """All kinds, whose files lie in ``folder`` (a local or shared POSIX folder, made when first written to).

    ``device`` is where they search, ``kind`` that of a collection's first generation, ``memory_bytes`` what
    those that are opened may take of memory together. Opens nothing; FAISS is
    imported when something is searched or built.

    Raises:
        InputError: no backend of that kind.
    """
    backends: dict[str, IndexBackend] = {FLAT: FlatBackend(folder, device, memory_bytes=memory_bytes)}
    backends |= {one: IvfBackend(folder, one) for one in (IVF_RABITQ, IVF_SQ8)}
    if kind not in backends:
        raise InputError(
            f"SIGHTLINE_RETRIEVER__INDEX must be one of {', '.join(sorted(backends))}; not {kind!r}."
        )
    return Indexes(backends, default=kind)


def gpus() -> int:
    """GPUs that the installed FAISS sees."""
    return FaissGpu().count()
