"""What `make fuzz` begins with, and the codes that a rejection may have."""

from __future__ import annotations

import re
from pathlib import Path

from tests.imaging.hostile import cases
from tests.imaging.mutations import MOST_BYTES

PAGE = Path(__file__).parents[2] / "docs" / "pictures.md"


def seeds() -> list[bytes]:
    """The bytes of every hostile and odd picture that is not too large to be changed."""
    return [data for case in cases() if 0 < len(data := case.data) <= MOST_BYTES]


def documented_codes() -> frozenset[str]:
    """The reason codes in the table of docs/pictures.md, but for mistakes of ours: there are none."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    codes = (code for row in rows for code in re.findall(r"`(\w+)`", row.split("|")[1]))
    return frozenset(codes) - {"internal"}
