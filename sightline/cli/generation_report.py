"""``sightline generations list`` and ``report``: what indexes there are, and what they find."""

from __future__ import annotations

from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli.opening import opened
from sightline.cli.options import CollectionName, Data, Json

if TYPE_CHECKING:
    from sightline.upkeep.recall_report import RecallReport


def register(group: typer.Typer) -> None:
    """Add the commands."""
    group.command("list")(list_generations)
    group.command()(report)


def list_generations(collection: CollectionName, data: Data = None, json: Json = False) -> None:
    """The indexes of a collection: kind, images, size, and the recall that was measured."""
    from datetime import UTC, datetime

    from sightline.cli.output import print_json
    from sightline.cli.tables import print_table
    from sightline.console import answers
    from sightline.upkeep.generation_list import list_generations as find

    with opened(data, collection) as services:
        found = find(services.catalog, services.indexes, collection)
    if json:
        print_json({"collection": collection, "generations": found})
        return
    rows = [
        [
            f"{one.number}{'' if one.serving else ' (not serving)'}", one.kind, f"{one.images:,}",
            f"{one.bytes / 1e6:,.1f}", _percent(1.0 if one.recall is None else one.recall),
            f"{datetime.fromtimestamp(one.created_at, UTC):%Y-%m-%d %H:%M}", one.texts or "–",
        ]
        for one in found
    ]  # fmt: skip
    print_table(("number", "kind", "images", "MB", "recall@100", "built (UTC)", "learned from"), rows)
    for one in found:
        if one.why:
            answers().print(f"{one.kind}: {one.why}", markup=False, soft_wrap=True)


def report(
    collection: CollectionName,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One query in a line; else sample texts.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="PNG", help="Draw recall and latency by probes there.")
    ] = None,
    most_queries: Annotated[int, typer.Option(min=1, help="Queries to measure with, at most.")] = 200,
    data: Data = None,
    json: Json = False,
) -> None:
    """Measure what the index of a collection finds, and how fast, for each number of probes."""
    from sightline.cli.drawings import check_drawing, write_drawing
    from sightline.cli.output import print_json, progress
    from sightline.cli.query_file import queries_in

    check_drawing(out)
    texts = [] if queries is None else queries_in(queries)
    with opened(data, collection) as services, progress() as show:
        answer = services.recall_measurement.report(collection, texts, most_queries, show)
    if out is not None:
        from sightline.upkeep.recall_plot import recall_png

        write_drawing(out, recall_png(answer))
    if json:
        print_json(answer)
    else:
        _print(answer)


def _print(answer: RecallReport) -> None:
    from sightline.cli.tables import print_table
    from sightline.console import answers

    rows = [
        [
            "as used" if row.probes is None else str(row.probes), _percent(row.recall10),
            _percent(row.recall100), f"{row.p50_ms:.2f}", f"{row.p95_ms:.2f}",
        ]
        for row in answer.rows
    ]  # fmt: skip
    print_table(("probes", "recall@10", "recall@100", "p50 ms", "p95 ms"), rows)
    built = "" if answer.built_recall is None else f"; {_percent(answer.built_recall)} when it was built"
    answers().print(
        f"Generation {answer.generation} ({answer.kind}) of {answer.collection}: {answer.images:,} images, "
        f"{answer.queries} {answer.source}{built}. Reading and comparing "
        f"all tokens of the segments takes {answer.scan_ms:,.0f} ms a query; a flat index is quicker.",
        soft_wrap=True, highlight=False,
    )  # fmt: skip


def _percent(part: float) -> str:
    """Never more than it is."""
    return f"{floor(1000 * part) / 10:.1f} %"
