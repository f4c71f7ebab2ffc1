"""The index backends by kind: the one place that names them. A new kind is one more entry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import InputError
from sightline.store.flat import MEMORY_BYTES, FlatBackend
from sightline.store.flat.devices import FaissGpu
from sightline.store.index import Indexes
from sightline.store.ivf import IvfBackend
from sightline.store.milvus import MilvusBackend
from sightline.store.records import AUTO, EXACT, FLAT, IVF_RABITQ, IVF_SQ8, MILVUS

if TYPE_CHECKING:
    from sightline.store.index import Device, IndexBackend
    from sightline.store.milvus import MilvusServer


def open_indexes(
    folder: Path | str,
    device: Device = "auto",
    kind: str = AUTO,
    memory_bytes: int = MEMORY_BYTES,
    milvus: MilvusServer | None = None,
) -> Indexes:
    """All kinds, whose files lie in ``folder`` (a local or shared POSIX folder, made when first written to).

    ``device`` is where they search, ``kind`` what collections get (``auto``, ``exact`` or a kind; whoever
    builds decides, see `sightline.indexer.building.kinds`), ``memory_bytes`` what those that are opened may
    take of memory together, ``milvus`` the server of the kind of that name (None: there is no such kind).
    Opens nothing; FAISS and pymilvus are imported when something is searched or built.

    Raises:
        InputError: no backend of that kind.
    """
    flat = FlatBackend(folder, device, memory_bytes=memory_bytes)
    backends: dict[str, IndexBackend] = {FLAT: flat}
    backends |= {one: IvfBackend(folder, one) for one in (IVF_RABITQ, IVF_SQ8)}
    if milvus is not None:
        backends[MILVUS] = MilvusBackend(folder, milvus, flat.tail)
    known = (AUTO, EXACT, *sorted(backends))
    if kind not in known:
        raise InputError(f"SIGHTLINE_RETRIEVER__INDEX must be one of {', '.join(known)}; not {kind!r}.")
    return Indexes(backends, default=kind if kind in backends else FLAT)


def gpus() -> int:
    """GPUs that the installed FAISS sees."""
    return FaissGpu().count()
