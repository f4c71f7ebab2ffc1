"""Photoshop files: which of them Pillow reads right."""

from __future__ import annotations

from typing import Final

_MODES: Final = {
    0: "bitmap",
    1: "grey",
    2: "indexed",
    3: "RGB",
    4: "CMYK",
    7: "multichannel",
    8: "duotone",
    9: "Lab",
}
_READ: Final = (0, 1, 2, 3, 4, 8, 9)


def unsupported_psd(data: bytes) -> str | None:
    """What kind of Photoshop file it is, when it is one that is not decoded."""
    if len(data) < 26:
        return None
    if data[4:6] == b"\0\2":
        return "Large Photoshop (PSB)"
    depth, mode = int.from_bytes(data[22:24], "big"), int.from_bytes(data[24:26], "big")
    if mode in _MODES and mode not in _READ:
        return f"Photoshop {_MODES[mode]}"
    return f"Photoshop {depth}-bit" if depth in (16, 32) else None
