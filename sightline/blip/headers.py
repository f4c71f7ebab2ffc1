"""What safetensors files hold, from their headers: names, types, shapes, places. Imports no torch.

A header is read within a bound and checked throughout before anything is reserved or mapped. Format:
safetensors' README: 8 bytes of header length (little endian), a JSON object, then the tensors' bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

from sightline.blip.checkpoint_files import refuse_pointer
from sightline.errors import CheckpointError

MOST_HEADER_BYTES = 100_000_000
"""The bound that the safetensors library has, too."""
MOST_DIMENSIONS = 16
ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip
"""Bytes of one number of each type that a checkpoint may hold."""
FLOATS = ("F64", "F32", "F16", "BF16")
"""The types of weights that are loaded."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor in one file. Its bytes are ``start`` to ``end`` of the file."""

    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def numbers(self) -> int:
        """How many there are in it."""
        return prod(self.shape)


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of one safetensors file, by name, in the order of their bytes.

    Raises:
        CheckpointError: the file cannot be read, is a git-lfs pointer, was cut off, or contradicts itself.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
            length = int.from_bytes(start[:8], "little")
            refuse_pointer(path, start)
            if size < 8 or length > min(MOST_HEADER_BYTES, size - 8):
                raise _damaged(path, f"its header would have {length} bytes")
            file.seek(8)
            raw = _parse(path, file.read(length))
    except OSError as error:
        raise CheckpointError(f"The weights {path} cannot be read ({error.strerror}).") from error
    entries = [_entry(path, name, value, 8 + length) for name, value in raw.items() if name != "__metadata__"]
    return _laid_out(path, entries, 8 + length, size)


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is no JSON") from error
    if not isinstance(found, dict):
        raise _damaged(path, "its header is no JSON object")
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _entry(path: Path, name: str, value: object, base: int) -> TensorEntry:
    if not isinstance(value, dict):
        raise _damaged(path, f"its header says nothing of {shown(name)}")
    dtype, shape, offsets = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise CheckpointError(
            f"The tensor {shown(name)} in {path} is of the type {shown(dtype)}; weights are loaded "
            f"from {', '.join(FLOATS)}."
        )
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or len(shape) > MOST_DIMENSIONS:
        raise _damaged(path, f"its header makes no sense at {shown(name)}")
    begin, end = offsets
    if end - begin != prod(shape) * ITEM_BYTES[dtype]:
        raise _damaged(path, f"its header gives {shown(name)} another size than its shape")
    return TensorEntry(name, path, dtype, tuple(shape), base + begin, base + end)


def _counts(found: object) -> TypeGuard[list[int]]:
    return isinstance(found, list) and all(type(one) is int and 0 <= one < 1 << 63 for one in found)


def _laid_out(path: Path, entries: list[TensorEntry], base: int, size: int) -> dict[str, TensorEntry]:
    """Tensors stand one after the other, from the header's end to the file's."""
    ordered, place = sorted(entries, key=lambda entry: (entry.start, entry.end)), base
    for entry in ordered:
        if entry.start != place:
            raise _damaged(path, f"{shown(entry.name)} does not begin where the tensor before it ends")
        place = entry.end
    if place != size:
        raise _damaged(path, f"it has {size} bytes where its header speaks of {place}")
    return {entry.name: entry for entry in ordered}


def shown(found: object) -> str:
    """A value from a foreign file as it may stand in a sentence: no longer than a line."""
    text = repr(found)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"The weights {path} are damaged or only half downloaded: {why}; download the file again."
    )
