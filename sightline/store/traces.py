"""Files of segments and generations that hold certain keys: whole, unfinished, replaced or set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sightline.store.own_files import SWEPT, OwnFiles

if TYPE_CHECKING:
    from sightline.types import Keys

_MAX_HEADER: Final = 1 << 24


def erase_files(files: OwnFiles, keys: Keys) -> list[str]:
    """Deletes those of our files, set aside or not, that hold one of ``keys``; their names."""
    erased: list[str] = []
    for name in sorted(files.stored()):
        if _holds(files.folder / name, keys):
            files.remove(name)
            erased.append(name)
    for name in sorted(files.swept()):
        if _holds(files.folder / SWEPT / name, keys):
            files.remove_swept(name)
            erased.append(name)
    return erased


def _holds(path: Path, keys: Keys) -> bool:
    return bool(np.isin(_keys_of(path), keys).any())


def _keys_of(path: Path) -> Keys:
    """As far as they are written; none of a file that is no segment and no generation, or is gone."""
    nothing = np.empty(0, np.int64)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= _MAX_HEADER:
                return nothing
            start, end = json.loads(file.read(length))["keys"]["data_offsets"]
            file.seek(8 + length + start)
            data = file.read(end - start)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return nothing
    return np.frombuffer(data[: len(data) // 8 * 8], np.int64)
