"""Inks on paper, printed by an independent reader: libvips with the press that it has built in."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyvips
from PIL import Image

from tests.imaging.hostile.case import Pixels

INK = np.array(
    [
        [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0)],
        [(0, 0, 0, 255), (255, 255, 0, 0), (128, 0, 128, 0), (0, 0, 0, 128)],
        [(40, 80, 120, 60), (200, 30, 60, 20), (0, 128, 255, 0), (90, 70, 60, 200)],
    ],
    np.uint8,
)
"""[3, 4, 4]: cyan, magenta, yellow, black of each patch; 255 is full ink."""
_SIDE = 16


def patches() -> Image.Image:
    """A CMYK picture of 64 × 48."""
    return Image.fromarray(INK.repeat(_SIDE, 0).repeat(_SIDE, 1), "CMYK")


@cache
def printed() -> Pixels:
    """[48, 64, 3]"""
    ink = np.asarray(patches())
    height, width, _ = ink.shape
    image = pyvips.Image.new_from_memory(ink.tobytes(), width, height, 4, "uchar").copy(interpretation="cmyk")
    return np.asarray(image.icc_transform("srgb", input_profile="cmyk", intent="relative").numpy(), np.uint8)


@cache
def swapped_press() -> bytes:
    """A profile of a press that has cyan and magenta the other way round than the built-in one."""
    whole = bytes(pyvips.Operation.call("profile_load", "cmyk"))
    at = next(
        int.from_bytes(whole[entry + 4 : entry + 8], "big")
        for entry in range(132, 300, 12)
        if whole[entry : entry + 4] == b"A2B1"
    )
    grid, entries = whole[at + 10], int.from_bytes(whole[at + 48 : at + 50], "big")
    start = at + 52 + 4 * entries * 2
    length = grid**4 * 3 * 2
    table = np.frombuffer(whole[start : start + length], ">u2").reshape(grid, grid, grid, grid, 3)
    return whole[:start] + table.swapaxes(0, 1).tobytes() + whole[start + length :]


@cache
def printed_by_swapped_press() -> Pixels:
    """[48, 64, 3]: what ``patches`` look like when printed there."""
    ink = np.ascontiguousarray(np.asarray(patches())[..., [1, 0, 2, 3]])
    height, width, _ = ink.shape
    image = pyvips.Image.new_from_memory(ink.tobytes(), width, height, 4, "uchar").copy(interpretation="cmyk")
    return np.asarray(image.icc_transform("srgb", input_profile="cmyk", intent="relative").numpy(), np.uint8)
