"""Tensor files that seal themselves: what comes before ``seal`` is checked at opening, what follows is not.

A safetensors file whose metadata says its format and bears its name; ``seal`` int64 ``[1]`` is the checksum
of all bytes before it. The large tensors that only `verify_file` reads in full lie behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sightline.errors import CorruptionError
from sightline.store.checksums import Seal
from sightline.store.durable import FileMissingError, opened, write_durably
from sightline.store.own_files import new_name
from sightline.store.tensorfile import TensorFile, TensorSpec, encode_header, open_tensors, raw, read_layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from sightline.store.durable import WrittenFile

VERSION: Final = "1"
_SEAL: Final = "seal"
_ONE: Final = TensorSpec(_SEAL, np.int64, (1,))


def ending_of(kind: str) -> str:
    """What the names of all files of a kind end with."""
    return f".{kind}.safetensors"


def write_sealed(
    folder: Path,
    kind: str,
    form: str,
    told: Mapping[str, str],
    sealed: Mapping[str, NDArray[Any]],
    unsealed: Mapping[str, NDArray[Any]] | None = None,
) -> WrittenFile:
    """One new file of an index of this kind, durably; ``told`` is what its header says to a reader."""
    file = new_name(ending_of(kind))
    metadata = {"format": form, "version": VERSION, "file": file, "kind": kind, **told}
    return write_durably(folder, file, _pieces(metadata, sealed, {} if unsealed is None else unsealed))


def read_sealed(path: Path, form: str) -> TensorFile:
    """A map of the file. `FileMissingError`; `CorruptionError` unless what is sealed is what was written."""
    file = open_tensors(path)
    start = file.layout.starts.get(_SEAL)
    _check_header(path, file.layout.metadata, form)
    if start is None or (file.arrays[_SEAL] != Seal([file.content[:start].data]).array()).any():
        raise CorruptionError(f"The file {path} is not what was written: its checksum differs.")
    return file


def read_told(path: Path, form: str) -> Mapping[str, str]:
    """What the header tells, unchecked but for its form. Errors as `read_sealed`."""
    with opened(path) as handle:
        metadata = read_layout(path, handle).metadata
    _check_header(path, metadata, form)
    return metadata


def require_file(path: Path) -> None:
    """`FileMissingError` unless it is there."""
    if not path.exists():
        raise FileMissingError(f"The file {path.name} is missing from {path.parent}.")


def _check_header(path: Path, metadata: Mapping[str, str], form: str) -> None:
    # The name, because another file in this one's place would be sound as well.
    named = metadata.get("file") == path.name
    if metadata.get("format") != form or metadata.get("version") != VERSION or not named:
        raise CorruptionError(f"The file {path} is no {form} that this version can read.")


def _pieces(
    metadata: Mapping[str, str], sealed: Mapping[str, NDArray[Any]], unsealed: Mapping[str, NDArray[Any]]
) -> Iterator[bytes | memoryview]:
    specs = [_spec(name, array) for name, array in sealed.items()]
    rest = [_spec(name, array) for name, array in unsealed.items()]
    seal = Seal()
    pieces: list[bytes | memoryview] = [encode_header(metadata, [*specs, _ONE, *rest])]
    pieces += [raw(array) for array in sealed.values()]
    for piece in pieces:
        seal.add(piece)
        yield piece
    yield raw(seal.array())
    for array in unsealed.values():
        yield raw(array)


def _spec(name: str, array: NDArray[Any]) -> TensorSpec:
    return TensorSpec(name, array.dtype.type, array.shape)
