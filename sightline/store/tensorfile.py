"""The safetensors format in numpy: written as a stream, read piece by piece, whole, or through a memory map.

The safetensors package is not used because its numpy reader copies every tensor, and its writer wants them
all in memory and does not fsync. Format: github.com/huggingface/safetensors (8 bytes header length,
little-endian; a JSON header with dtype, shape and offsets; the bytes of the tensors without holes).
"""

from __future__ import annotations

import json
import math
import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError
from sightline.store.durable import opened

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import FileIO
    from pathlib import Path

ALIGNMENT: Final = 64
"""Tensor data begins at a multiple of this many bytes, so that views into the map are aligned."""
_MAX_HEADER: Final = 1 << 20
_READ_AT_ONCE: Final = 16 << 20
_DTYPES: Final[Mapping[str, type[np.generic]]] = {
    "I64": np.int64,
    "F32": np.float32,
    "F16": np.float16,
    "I8": np.int8,
    "U8": np.uint8,
}
_NAMES: Final = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class TensorSpec:
    """Name, element type and shape of one tensor of a file."""

    name: str
    dtype: type[np.generic]
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class TensorLayout:
    """Where everything lies in a file: ``header`` is all before the first tensor, ``specs`` in order."""

    path: Path
    header: bytes
    metadata: Mapping[str, str]
    specs: Mapping[str, TensorSpec]
    starts: Mapping[str, int]
    """Of each tensor, in bytes from the beginning of the file."""


@dataclass(frozen=True)
class TensorFile:
    """All bytes of a file, in memory or mapped. Arrays are read-only views that keep them alive."""

    layout: TensorLayout
    arrays: Mapping[str, NDArray[Any]]
    content: NDArray[np.uint8]

    def from_last_of(self, first: str, length: int, last: str) -> NDArray[np.uint8]:
        """The last ``length`` bytes of tensor ``first`` and all bytes after, to the end of ``last``."""
        layout = self.layout
        start, end = (layout.starts[name] + layout.specs[name].bytes for name in (first, last))
        return self.content[start - length : end]


def encode_header(metadata: Mapping[str, str], tensors: list[TensorSpec]) -> bytes:
    """All bytes before the first tensor's. The tensors' bytes must follow in the order given."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": _NAMES[np.dtype(tensor.dtype)],
            "shape": tensor.shape,
            "data_offsets": [offset, offset + tensor.bytes],
        }
        offset += tensor.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def raw(array: NDArray[Any]) -> memoryview:
    """The bytes of an array, flat; no copy when it is contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def read_layout(path: Path, handle: FileIO) -> TensorLayout:
    """The header of an open file; `CorruptionError` when it makes no sense.

    It is checked against the length of the file; whether the tensors hold what was written is for others to
    say.
    """
    try:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(0)
        length = 8 + int.from_bytes(handle.read(8), "little")
        if not 8 < length <= min(size, _MAX_HEADER):
            raise ValueError("its header has an impossible length")
        handle.seek(0)
        return _parse(path, handle.read(length), size)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise CorruptionError(f"The file {path} is not a readable tensor file: {error}.") from error


def open_tensors(path: Path, *, mapped: bool = True) -> TensorFile:
    """All of ``path``, in its memory map or as a copy in memory.

    `FileMissingError` when it is gone, `CorruptionError` when its header makes no sense.
    """
    with opened(path) as handle:
        layout = read_layout(path, handle)
        if mapped:
            buffer = np.frombuffer(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        else:
            buffer = _aligned(handle.seek(0, os.SEEK_END))
            read_into(path, handle, 0, buffer)
            buffer.flags.writeable = False
    arrays = {}
    for name, spec in layout.specs.items():
        flat = np.frombuffer(buffer, spec.dtype, math.prod(spec.shape), layout.starts[name])
        arrays[name] = flat.reshape(spec.shape)
    return TensorFile(layout, arrays, buffer)


def _aligned(size: int) -> NDArray[np.uint8]:
    """Memory that begins where a map would: a scan over rows that straddle cache lines is slower."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]


def read_into(path: Path, handle: FileIO, start: int, array: NDArray[Any]) -> None:
    """Fill a contiguous array with the bytes from ``start`` on; `CorruptionError` when there are too few."""
    view = array.reshape(-1).view(np.uint8).data
    handle.seek(start)
    done = 0
    while done < len(view):
        count = handle.readinto(view[done : done + _READ_AT_ONCE])
        if not count:
            raise CorruptionError(f"The file {path} is shorter than its header says.")
        done += count


def _parse(path: Path, text: bytes, size: int) -> TensorLayout:
    header = json.loads(text[8:])
    metadata = {str(name): str(value) for name, value in header.pop("__metadata__", {}).items()}
    specs: dict[str, TensorSpec] = {}
    starts: dict[str, int] = {}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        specs[name] = spec = TensorSpec(name, _DTYPES[entry["dtype"]], tuple(entry["shape"]))
        if entry["data_offsets"] != [end, end + spec.bytes] or min(spec.shape, default=0) < 0:
            raise ValueError(f"the tensor {name} does not lie where its shape says")
        starts[name] = len(text) + end
        end += spec.bytes
    if len(text) + end != size:
        raise ValueError(f"it is {'longer' if len(text) + end < size else 'shorter'} than its header says")
    return TensorLayout(path, text, metadata, specs, starts)
