"""Options and remarks of searches that count: shared by the commands that search."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.records import SearchResponse

Sort = Annotated[
    str | None,
    typer.Option(
        metavar="ORDER",
        help="With --min-probability: all hits, by relevance, created_at or metadata.FIELD; "
        "-created_at, -metadata.FIELD: the greatest first.",
    ),
]
Exact = Annotated[
    bool, typer.Option("--exact", help="With --min-probability: judge all pictures, for an exact total.")
]
Cursor = Annotated[str | None, typer.Option(help="With --min-probability: where the page before ended.")]


def remark_total(response: SearchResponse) -> None:
    """How many hits there are in all, and how to go on; nothing for a search that does not count."""
    from sightline.console import remarks

    if response.total is None:
        return
    least = "" if response.total_is == "exact" else "at least "
    judged = f"{response.scored:,} of {response.images:,} pictures judged"
    remarks().print(f"[dim]{least}{response.total:,} in all · {judged}[/]")
    if response.next_cursor is not None:
        remarks().print(f"[dim]the next: --cursor {response.next_cursor}[/]", soft_wrap=True, highlight=False)
