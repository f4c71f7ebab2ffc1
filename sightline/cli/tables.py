"""Tables of answers: laid out for the terminal they are read on, tab-separated for what reads a pipe.

On a terminal names give way in their middle and texts wrap by words; nothing else is ever shortened or broken
over lines, so that what is copied is whole. In a pipe everything is whole, one row a line.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from sightline.console import answers, harmless

if TYPE_CHECKING:
    from rich.text import Text

LEAST = {"name": 12, "text": 16}
"""Cells of a terminal that a column keeps however narrow it is."""
GAP = 2
"""Cells between two columns."""
SPACE = re.compile(r"[\t\n\r\v\f\x85\u2028\u2029]+")
"""What would begin another column or row."""


class Column(NamedTuple):
    """Its heading, and what gives way on a narrow terminal: nothing, a name's middle, a text's lines."""

    heading: str
    kind: Literal["whole", "name", "text"] = "whole"


def print_table(columns: Sequence[str | Column], rows: Sequence[Sequence[str | Text]]) -> None:
    """Columns with a heading. ``columns`` that are only a text are whole."""
    told = [Column(one) if isinstance(one, str) else one for one in columns]
    if not sys.stdout.isatty():
        for row in ([one.heading for one in told], *rows):
            sys.stdout.write("\t".join(harmless(SPACE.sub(" ", str(cell))) for cell in row) + "\n")
        return
    # Text that has styles is numbers and words of ours.
    _print_laid_out(told, [[harmless(one) if isinstance(one, str) else one for one in row] for row in rows])


def _print_laid_out(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> None:
    from rich.table import Table
    from rich.text import Text

    wide = answers().width
    widths = _widths(columns, rows, wide)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column.heading, width=width, no_wrap=column.kind != "text", overflow="fold")
    for row in rows:
        cells = zip(columns, row, widths, strict=True)
        shown = (shorten(str(cell), width) if one.kind == "name" else cell for one, cell, width in cells)
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in shown))
    # What does not fit is broken by the terminal, where it can still be copied as a whole.
    answers(max(wide, sum(widths) + GAP * (len(widths) - 1))).print(table)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], wide: int) -> list[int]:
    """Cells for each column: as wide as what is in it; names, then texts, share what the others leave."""
    from rich.cells import cell_len

    cells = [[one.heading, *(str(row[place]) for row in rows)] for place, one in enumerate(columns)]
    widths = [max(map(cell_len, some)) for some in cells]
    for kind in ("text", "name"):  # texts give way first: they only get longer
        over = sum(widths) + GAP * (len(widths) - 1) - wide
        places = [place for place, one in enumerate(columns) if one.kind == kind]
        for place in sorted(places, key=lambda place: -widths[place]):
            given = max(0, min(over, widths[place] - LEAST[kind]))
            widths[place] -= given
            over -= given
    return widths


def shorten(line: str, width: int) -> str:
    """A name in so many cells of a terminal, with ``…`` in place of its middle where it is longer."""
    from rich.cells import cell_len

    if cell_len(line) <= width:
        return line
    head, tail = "", ""
    first, last = 0, len(line) - 1
    while first <= last:
        from_end = cell_len(tail) <= cell_len(head)  # the end says which file it is
        one = line[last] if from_end else line[first]
        if cell_len(head) + cell_len(tail) + cell_len(one) + 1 > width:
            break
        head, tail = (head, one + tail) if from_end else (head + one, tail)
        first, last = (first, last - 1) if from_end else (first + 1, last)
    return f"{head}…{tail}"
