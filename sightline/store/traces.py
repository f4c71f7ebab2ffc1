"""Files of segments and generations that hold certain keys: whole, unfinished, replaced or set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from sightline.types import Keys

_MAX_HEADER: Final = 1 << 24


def erase_files(folder: Path, ending: str, keys: Keys) -> list[str]:
    """Deletes the files in ``folder``, and in the folders inside, that hold one of ``keys``; their names."""
    found = [path for path in sorted(folder.rglob(f"*{ending}")) if not path.is_symlink()]
    holding = [path for path in found if np.isin(_keys_of(path), keys).any()]
    for path in holding:
        path.unlink(missing_ok=True)
    return [path.name for path in holding]


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
