"""Whose mistake an exception is: the file's, as Pillow tells it in many types, or ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType, TracebackType

_OURS: Final = "sightline."


def own_mistake(error: BaseException) -> str | None:
    """A sentence when ``error`` was raised by this project's own code, or by what that asked of NumPy.

    Whatever comes out of Pillow is said of the file. Running out of memory is nobody's mistake.
    """
    where = _innermost(error.__traceback__)
    if where is None or not _is_ours(where[0]) or isinstance(error, MemoryError):
        return None
    frame, line = where
    place = f"{Path(frame.f_code.co_filename).name}:{line}"
    return (
        f"Sightline failed at this picture by a mistake of its own ({type(error).__name__} in {place}); the "
        "file may be good. Please report it."
    )


def _innermost(trace: TracebackType | None) -> tuple[FrameType, int] | None:
    """The frame that raised and its line, without those of NumPy above ours."""
    found: list[tuple[FrameType, int]] = []
    while trace is not None:
        found.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    while found and _module(found[-1][0]).startswith("numpy"):
        found.pop()
    return found[-1] if found else None


def _is_ours(frame: FrameType) -> bool:
    return _module(frame).startswith(_OURS)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
