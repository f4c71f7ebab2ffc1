"""The file of a flat generation: the tokens of all images that were live when it was built.

A safetensors file: ``keys`` int64 ``[N]``, ``faiss`` uint8 (padding, then what FAISS puts before its codes),
``tokens`` fp16 ``[N,Q,D]``, so that the last two together are a FAISS index that is opened in place, and
``seal`` int64 ``[1]``, the checksum of all bytes before. Version 1 had none: there the SHA-256 is computed.
"""

from __future__ import annotations

import hashlib
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from sightline.errors import CorruptionError, UnavailableError
from sightline.store.checksums import Seal
from sightline.store.durable import FileIdentity
from sightline.store.flat.faiss_scan import copy_index, index_header, view_index
from sightline.store.flat.memory import Memory
from sightline.store.flat.token_index import MappedFile
from sightline.store.tensorfile import ALIGNMENT, TensorFile, TensorSpec, encode_header, open_tensors, raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from sightline.types import Half, Keys

log = logging.getLogger(__name__)

SUFFIX: Final = ".generation.safetensors"
FORMAT: Final = "sightline-generation"
VERSION: Final = "2"


class GenerationContent(NamedTuple):
    """Views into one file: keys ``[N]``, tokens ``[N,Q,D]`` and a FAISS index over ``buffer``.

    ``map`` is the file that they are a map of, as it was when it was verified; None when they are in memory.
    """

    keys: Keys
    tokens: Half
    index: Any
    buffer: NDArray[np.uint8]
    map: MappedFile | None


View = Callable[["NDArray[np.uint8]", int], "Any | None"]
"""An index of so many rows over bytes, in place; None when this FAISS cannot read them so."""


def read_generation(
    path: Path, sha256: str, memory: Memory, view: View = view_index, *, mapped: bool = False
) -> GenerationContent:
    """Verify the checksum, then open in place: in memory when ``memory`` has room, else in the memory map.

    ``mapped``: in the memory map. Raises `FileMissingError` or `CorruptionError`; `UnavailableError` when
    FAISS needs a copy for which there is no room.
    """
    identity = FileIdentity.at(path)
    size = 0 if identity is None or mapped else identity.size
    content, is_mapped = _content(path, size, memory)
    _verify(content, sha256)
    keys, tokens = content.arrays["keys"], content.arrays["tokens"]
    buffer = content.from_last_of("faiss", int(content.layout.metadata.get("faiss_bytes", "0")), "tokens")
    index = view(buffer, tokens.shape[0] * tokens.shape[1])
    if index is None:
        index = _copied(path, tokens, memory)
    return GenerationContent(keys, tokens, index, buffer, MappedFile(path, identity) if is_mapped else None)


def read_keys(path: Path, sha256: str) -> Keys:
    """Verify the checksum; the keys ``[N]``, which hold no file open. Errors as `read_generation`."""
    content = open_tensors(path, mapped=True)
    _verify(content, sha256)
    return content.arrays["keys"].copy()


def _copied(path: Path, tokens: Half, memory: Memory) -> Any:
    """Another version of FAISS may write another header: then a copy does, where there is room for it."""
    size = tokens.nbytes
    if not memory.take(size):
        raise UnavailableError(
            f"The installed FAISS cannot search {path.name} in place, and a copy of {size / 1e9:.1f} GB is"
            " more than SIGHTLINE_RETRIEVER__INDEX_MEMORY_BYTES leaves: install the version of FAISS that"
            " Sightline asks for, or allow more."
        )
    log.warning("FAISS cannot search the index in place: copied", extra={"file": path.name, "bytes": size})
    index = copy_index(tokens)
    weakref.finalize(index, memory.give_back, size)
    return index


def _content(path: Path, size: int, memory: Memory) -> tuple[TensorFile, bool]:
    """All of the file, and whether it is mapped."""
    if not memory.take(size):
        return open_tensors(path, mapped=True), True
    try:
        content = open_tensors(path, mapped=False)
    except BaseException:
        memory.give_back(size)
        raise
    memory.give_back_with(content.content, size)
    return content, False


def _verify(file: TensorFile, sha256: str) -> None:
    """`CorruptionError` unless this is a whole generation, and the one that bears this name."""
    path, metadata, buffer = file.layout.path, file.layout.metadata, file.content
    shapes = {name: array.ndim for name, array in file.arrays.items()}
    version = metadata.get("version")
    expected = {"keys": 1, "faiss": 1, "tokens": 3} | ({} if version == "1" else {"seal": 1})
    if metadata.get("format") != FORMAT or version not in ("1", VERSION) or shapes != expected:
        raise CorruptionError(f"The file {path.name} is no generation that this version can read.")
    if version == "1":
        sound = hashlib.sha256(buffer.data).hexdigest() == sha256
    else:
        start = file.layout.starts["seal"]
        sound = bool((file.arrays["seal"] == Seal([buffer[:start].data]).array()).all())
        # The name, because another generation in this one's place would be sound as well.
        sound = sound and metadata.get("file") == path.name
    if not sound:
        raise CorruptionError(f"The file {path} is not what was written: its checksum differs.")


def generation_bytes(
    file: str, keys: Keys, shape: tuple[int, ...], chunks: Iterable[Half]
) -> Iterator[bytes | memoryview]:
    """The file of ``keys``, whose tokens of ``shape`` ``[Q,D]`` come in chunks; it will bear this name."""
    seal = Seal()
    for piece in _pieces(file, keys, shape, chunks):
        seal.add(piece)
        yield piece
    yield raw(seal.array())


def _pieces(
    file: str, keys: Keys, shape: tuple[int, ...], chunks: Iterable[Half]
) -> Iterator[bytes | memoryview]:
    header = index_header(len(keys) * shape[0], shape[1])
    # Padded in front, so that the tokens behind it are aligned.
    padded = bytes(-(len(header) + keys.nbytes) % ALIGNMENT) + header
    specs = [
        TensorSpec("keys", np.int64, (len(keys),)),
        TensorSpec("faiss", np.uint8, (len(padded),)),
        TensorSpec("tokens", np.float16, (len(keys), *shape)),
        TensorSpec("seal", np.int64, (1,)),
    ]
    told = {"format": FORMAT, "version": VERSION, "file": file, "faiss_bytes": str(len(header))}
    yield encode_header(told, specs)
    yield raw(keys)
    yield padded
    for chunk in chunks:
        yield raw(chunk)
