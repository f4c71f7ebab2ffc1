"""The safetensors format in numpy: written as a stream, read through a memory map.

The safetensors package is not used because its numpy reader copies every tensor, and its writer wants them
all in memory and does not fsync. Format: github.com/huggingface/safetensors (8 bytes header length,
little-endian; a JSON header with dtype, shape and offsets; the bytes of the tensors without holes).
"""

from __future__ import annotations

import json
import math
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError
from sightline.store.durable import FileMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ALIGNMENT: Final = 64
"""Tensor data begins at a multiple of this many bytes, so that views into the map are aligned."""
_MAX_HEADER: Final = 1 << 20
_DTYPES: Final[Mapping[str, type[np.generic]]] = {
    "I64": np.int64,
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
class TensorFile:
    """A memory-mapped file. Arrays are read-only views that keep the map alive when the file is deleted."""

    path: Path
    metadata: Mapping[str, str]
    arrays: Mapping[str, NDArray[Any]]
    content: NDArray[np.uint8]
    ends: Mapping[str, int]

    def tail_of(self, first: str, length: int, last: str) -> NDArray[np.uint8]:
        """The last ``length`` bytes of tensor ``first`` and all bytes after, to the end of ``last``."""
        return self.content[self.ends[first] - length : self.ends[last]]


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


def open_tensors(path: Path) -> TensorFile:
    """Map ``path``; `FileMissingError` when it is gone, `CorruptionError` when its header makes no sense.

    The header is checked against the length of the file; whether the tensors hold what was written is for
    `sightline.store.durable.verify_file` to say.
    """
    try:
        with path.open("rb") as handle:
            buffer = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise FileMissingError(f"The file {path.name} is missing from {path.parent}.") from None
    except ValueError:
        raise CorruptionError(f"The file {path} is empty.") from None
    try:
        return _parse(path, buffer)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise CorruptionError(f"The file {path} is not a readable tensor file: {error}.") from error


def _parse(path: Path, buffer: mmap.mmap) -> TensorFile:
    start = 8 + int.from_bytes(buffer[:8], "little")
    if not 8 < start <= min(len(buffer), _MAX_HEADER):
        raise ValueError("its header has an impossible length")
    header = json.loads(buffer[8:start])
    metadata = header.pop("__metadata__", {})
    arrays: dict[str, NDArray[Any]] = {}
    ends: dict[str, int] = {}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        spec = TensorSpec(name, _DTYPES[entry["dtype"]], tuple(entry["shape"]))
        if entry["data_offsets"] != [end, end + spec.bytes] or min(spec.shape, default=0) < 0:
            raise ValueError(f"the tensor {name} does not lie where its shape says")
        if start + end + spec.bytes > len(buffer):
            raise ValueError("it is shorter than its header says")
        count = math.prod(spec.shape)
        arrays[name] = np.frombuffer(buffer, spec.dtype, count, start + end).reshape(spec.shape)
        end += spec.bytes
        ends[name] = start + end
    if start + end != len(buffer):
        raise ValueError("it is longer than its header says")
    return TensorFile(path, metadata, arrays, np.frombuffer(buffer, np.uint8), ends)
