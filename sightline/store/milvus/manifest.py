"""The file of a Milvus generation: which rows of which collection it is, and whose keys.

A safetensors file: ``keys`` int64 ``[N]``, ``hidden`` int64 ``[H]``, then ``seal`` int64 ``[1]``, the
checksum of all bytes before. Its name and SHA-256 are the generation's. A build that goes on has such a file,
too, under the name of what is not finished and without keys: whoever finds it later knows which rows to
remove.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sightline.errors import CorruptionError, SightlineError
from sightline.store.checksums import Seal
from sightline.store.durable import ASIDE, opened, sync_folder, write_durably
from sightline.store.own_files import new_name
from sightline.store.storage import writing
from sightline.store.tensorfile import TensorSpec, encode_header, open_tensors, raw, read_layout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sightline.store.durable import WrittenFile
    from sightline.types import Keys

SUFFIX: Final = ".milvus.safetensors"
FORMAT: Final = "sightline-milvus"
VERSION: Final = "1"


@dataclass(frozen=True)
class Named:
    """What a generation names on the server, and how it is searched.

    ``parts``: numbers of the builds whose rows it counts on. ``probes`` of ``nlist`` cells, and ``fetch``
    rows for each image wanted, were found when ``recall`` (at 100) and ``recall10`` were measured, at
    ``measured`` images (0: never, and then they are 0, because nothing is known). The index was made for
    ``made`` images.
    """

    collection: str
    parts: tuple[int, ...]
    queries: int
    dim: int
    index: str = ""
    nlist: int = 1
    probes: int = 1
    fetch: int = 16
    recall: float = 0.0
    recall10: float = 0.0
    measured: int = 0
    made: int = 0


@dataclass(frozen=True)
class Manifest:
    """A whole manifest: ``keys`` ``[N]`` are the images that may be found.

    ``hidden`` ``[H]``: those whose rows are there still, because an older generation may count on them.
    """

    named: Named
    keys: Keys
    hidden: Keys

    @property
    def rows(self) -> int:
        """How many rows these images have."""
        return len(self.keys) * self.named.queries


def write_manifest(folder: Path, manifest: Manifest) -> WrittenFile:
    """One new file, durably."""
    file = new_name(SUFFIX)
    return write_durably(folder, file, _pieces(file, manifest))


def write_begun(folder: Path, named: Named) -> str:
    """What says, before anything is inserted, what is going to be; its name."""
    name, nobody = f"{ASIDE}{new_name(SUFFIX)}", np.empty(0, np.int64)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("xb") as handle:
            for piece in _pieces(name, Manifest(named, nobody, nobody)):
                handle.write(piece)
            handle.flush()
            os.fsync(handle.fileno())
        sync_folder(folder)
    return name


def read_manifest(path: Path) -> Manifest:
    """`FileMissingError`; `CorruptionError` unless it is what was written under this name."""
    file = open_tensors(path, mapped=False)
    start = file.layout.starts.get("seal")
    sealed = start is not None and (file.arrays["seal"] == Seal([file.content[:start].data]).array()).all()
    if not sealed or not {"keys", "hidden"} <= set(file.arrays):
        raise CorruptionError(f"The file {path} is not what was written: its checksum differs.")
    named = _named(path, file.layout.metadata)
    if file.layout.metadata.get("file") != path.name:  # another one in its place would be sound as well
        raise CorruptionError(f"The file {path} is not what was written: it is another one.")
    return Manifest(named, *(file.arrays[name].astype(np.int64) for name in ("keys", "hidden")))


def peek(path: Path) -> Named | None:
    """What a file names, unchecked; None when that cannot be read."""
    try:
        with opened(path) as handle:
            return _named(path, read_layout(path, handle).metadata)
    except (OSError, SightlineError):
        return None


def _named(path: Path, metadata: Mapping[str, str]) -> Named:
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        raise CorruptionError(f"The file {path.name} is no Milvus generation that this version can read.")
    try:
        told: dict[str, Any] = json.loads(metadata["named"])
        return replace(Named(**told), parts=tuple(told["parts"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptionError(f"The file {path} says not which rows it names: {error}.") from error


def _pieces(file: str, manifest: Manifest) -> Iterator[bytes | memoryview]:
    told = {"format": FORMAT, "version": VERSION, "file": file, "named": json.dumps(vars(manifest.named))}
    tensors = {"keys": manifest.keys, "hidden": manifest.hidden}
    specs = [TensorSpec(name, np.int64, (len(array),)) for name, array in tensors.items()]
    header = encode_header(told, [*specs, TensorSpec("seal", np.int64, (1,))])
    pieces: list[bytes | memoryview] = [header, *map(raw, tensors.values())]
    yield from pieces
    yield raw(Seal(pieces).array())
