"""What was found, as a table: the same columns for every command that searches."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from sightline.cli.tables import Column, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from sightline.records import SearchHit


def print_hits(
    hits: Sequence[SearchHit], columns: Sequence[str], numbers: Sequence[Sequence[str | Text]]
) -> None:
    """Rank, id, then ``numbers`` under ``columns``, file where the id does not tell it, and caption."""
    from sightline.console import answers

    if not hits:
        answers().print("Nothing found.")
        return
    files = ["" if _is_told(hit) else file_name(hit.uri) for hit in hits]
    has_files = any(files)
    headings: list[str | Column] = ["rank", Column("id", "name"), *columns]
    headings += [Column("file", "name")] if has_files else []
    headings.append(Column("caption", "text"))
    rows = []
    for hit, own, file in zip(hits, numbers, files, strict=True):
        more = f"  (+{len(hit.duplicates)} the same)" if hit.duplicates else ""
        rows.append([str(hit.rank), hit.id + more, *own, *([file] if has_files else []), hit.caption or ""])
    print_table(headings, rows)


def file_name(uri: str) -> str:
    """The last part of where a picture lies; empty for what was uploaded."""
    path = uri.partition("?")[0].rpartition("/")[2]
    return unquote(path) if "/" in uri else ""


def _is_told(hit: SearchHit) -> bool:
    """Whether the id ends with the name of the file, or is that without its ending."""
    file = file_name(hit.uri)
    return hit.id.endswith((file, file.rpartition(".")[0] or file))
