"""Files of a checkpoint as they come: half-copied, a pointer in place of the file, or of anything at all.

Nothing is believed about them, and nothing of them is held without a bound. Imports no torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sightline.errors import CheckpointError

MOST_JSON_BYTES = 64 << 20
"""Of one JSON file. The longest of the released ones, a tokenizer.json, has 18 MB."""
_POINTER = b"version https://git-lfs.github.com/spec/"


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint.

    Raises:
        CheckpointError: the file is missing, is a git-lfs pointer, or holds no JSON object.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MOST_JSON_BYTES else b""
    except OSError as error:
        reason = (
            "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        )
        raise CheckpointError(
            f"The file {path} {reason}; copy it from the checkpoint that the folder came from."
        ) from error
    if size > MOST_JSON_BYTES:
        raise CheckpointError(f"The file {path} has {size} bytes, more than a JSON file of a model has.")
    return _parsed(path, content)


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    refuse_pointer(path, content)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"The file {path} is not readable as JSON; copy it from the checkpoint that the folder came from."
        ) from error
    if not isinstance(found, dict):
        raise CheckpointError(f"The file {path} holds no JSON object; copy the checkpoint's own file.")
    return found


def refuse_pointer(path: Path, start: bytes) -> None:
    """Raises CheckpointError when a file that begins with ``start`` is what git leaves without git-lfs."""
    if start.startswith(_POINTER):
        raise CheckpointError(
            f"The file {path} is a git-lfs pointer and not the file itself; run `git lfs pull` in the "
            "folder, or download the file from the hub."
        )
