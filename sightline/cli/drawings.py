"""Where a command draws: told before the work, which may take minutes, and not after it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sightline.errors import InputError, UnavailableError


def check_drawing(path: Path | None) -> None:
    """Raises for a picture that could not be written in the end; None: nothing is drawn.

    Raises:
        InputError: there is no such folder, or it is a folder itself.
        UnavailableError: matplotlib is not installed.
    """
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the PNG file to draw.")
    if not path.parent.is_dir():
        raise InputError(
            f"There is no folder {path.parent} to draw {path.name} in; make it, or name another."
        )
    if find_spec("matplotlib") is None:
        raise UnavailableError(
            "A report is drawn by matplotlib, which is not installed; install sightline[train]."
        )


def write_drawing(path: Path, png: bytes) -> None:
    """Raises StorageError: the disk refuses it."""
    from sightline.store.storage import writing

    with writing(path):
        path.write_bytes(png)
