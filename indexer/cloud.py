"""Files that lie in a cloud, a placeholder here: they are not gone, and reading them would fetch them."""

from __future__ import annotations

import os
import re
from typing import Final

_STUB: Final = re.compile(r"\.(.+)\.icloud", re.DOTALL)
_DATALESS: Final = 0x40000000
"""macOS: SF_DATALESS."""
_ELSEWHERE: Final = 0x1000 | 0x40000 | 0x400000
"""Windows: FILE_ATTRIBUTE_OFFLINE, …_RECALL_ON_OPEN, …_RECALL_ON_DATA_ACCESS."""


def name_in_the_cloud(name: str) -> str | None:
    """The name of the file that ``.name.icloud`` stands for; None for any other file."""
    found = _STUB.fullmatch(name)
    return found[1] if found else None


def is_away(entry: os.DirEntry[str]) -> bool:
    """Whether a directory entry is a placeholder of what lies elsewhere."""
    try:
        return lies_elsewhere(entry.stat())
    except OSError:
        return False


def lies_elsewhere(state: object) -> bool:
    """Whether a stat result carries a mark of macOS or Windows for files whose bytes are not on this disk."""
    flags, attributes = getattr(state, "st_flags", 0), getattr(state, "st_file_attributes", 0)
    return bool(flags & _DATALESS or attributes & _ELSEWHERE)
