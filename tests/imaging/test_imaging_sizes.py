"""The sizes that docs/pictures.md promises are those that the memory bound lets through."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PIL.ImageFile import ImageFile

from sightline.errors import ImageRejected
from sightline.imaging import Limits
from sightline.imaging.budget import check_memory
from tests.imaging.seeds import PAGE

_FULL = [(1, 1, 1, 0), (2, 1, 1, 1), (3, 1, 1, 1)]
_HALVED = [(1, 2, 2, 0), (2, 1, 1, 1), (3, 1, 1, 1)]
_FORMATS = {
    "JPEG": ["JPEG"], "progressive JPEG": [], "PNG, BMP": ["PNG", "BMP"], "TIFF": ["TIFF"], "GIF": ["GIF"],
    "PNM, QOI, DDS": ["PPM", "QOI", "DDS"], "WebP, AVIF": ["WEBP", "AVIF"], "JPEG 2000": ["JPEG2000"],
    "HEIF": ["HEIF"], "JPEG XL": ["JXL"],
}  # fmt: skip
"""What a row of the table is called → formats as Pillow calls them."""


def header(name: str, mode: str, megapixels: float, layers: list[tuple[int, ...]] | None = None) -> ImageFile:
    """What the bound looks at: no file of that size is made."""
    height = int(megapixels * 1e6) // 1000
    info: dict[str, Any] = {} if layers is None else {"progressive": 1}
    one = SimpleNamespace(format=name, mode=mode, width=1000, height=height, info=info, layer=layers or [])
    return cast(ImageFile, one)


def refusal(opened: ImageFile) -> ImageRejected | None:
    try:
        check_memory(opened, Limits())
    except ImageRejected as rejected:
        return rejected
    return None


def fits(opened: ImageFile) -> bool:
    rejected = refusal(opened)
    if rejected is None:
        return True
    assert rejected.reason == "too_many_pixels"
    assert "SIGHTLINE_IMAGING__MEMORY_BYTES" in rejected.detail
    return False


def is_most(megapixels: int, name: str, mode: str, layers: list[tuple[int, ...]] | None = None) -> bool:
    """So many fit, and one more does not, unless the bound on pixels is met first."""
    most = Limits().max_pixels / 1e6
    more = megapixels + 1 <= most and fits(header(name, mode, megapixels + 1, layers))
    return fits(header(name, mode, megapixels, layers)) and not more


def rows() -> dict[str, tuple[str, str]]:
    table = PAGE.read_text().partition("## Sizes")[2].partition("## Refused")[0]
    found = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)
    return {name: (colour, grey) for name, colour, grey in found if name != "format"}


def test_every_format_of_the_table_is_known_here() -> None:
    assert set(rows()) == set(_FORMATS)


@pytest.mark.parametrize("row", [name for name, formats in _FORMATS.items() if formats])
def test_the_table_says_what_fits(row: str) -> None:
    colour, grey = rows()[row]
    for name in _FORMATS[row]:
        if row == "GIF":
            assert is_most(int(grey.split()[0]), name, "P")
            continue
        assert is_most(int(colour), name, "RGB"), name
        if name not in ("QOI", "DDS", "WEBP", "AVIF", "JXL"):  # which have no grey, or do not say so in time
            assert is_most(int(grey), name, "L"), name


def test_the_table_says_what_fits_of_progressive_jpeg() -> None:
    colour, grey = rows()["progressive JPEG"]
    halved, full, inks = (int(number) for number in re.findall(r"\d+", colour))
    assert is_most(halved, "JPEG", "RGB", _HALVED)
    assert is_most(full, "JPEG", "RGB", _FULL)
    assert is_most(inks, "JPEG", "CMYK", [(number, 1, 1, 0) for number in range(4)])
    assert is_most(int(grey), "JPEG", "L", [(1, 1, 1, 0)])
