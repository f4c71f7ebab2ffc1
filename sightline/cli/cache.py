"""``sightline cache``: what compressed patches and cascades cost in fidelity, and a codec fitted now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli.opening import opened
from sightline.cli.options import CollectionName, Data, Json

if TYPE_CHECKING:
    from sightline.serving.verdicts import Verdict
    from sightline.upkeep.cache_report import CacheReport
    from sightline.upkeep.cascade_report import CascadeReport

Grid = Annotated[
    bool | None,
    typer.Option("--grid/--plain", help="Code the patches of an image together, or each by itself."),
]
cache = typer.Typer(no_args_is_help=True, help="Compressed patches: what they cost in fidelity.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    cache.command()(report)
    cache.command()(fit)
    app.add_typer(cache, name="cache")


def report(
    collection: CollectionName,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One query in a line; else the images' captions.")
    ] = None,
    ranks: Annotated[
        str, typer.Option(metavar="R,R,…", help="Latents of these ranks; else the codec in use.")
    ] = "",
    grid: Grid = None,
    images: Annotated[int, typer.Option(min=2, help="Images to sample, at most.")] = 200,
    most_queries: Annotated[int, typer.Option(min=1, help="Queries to measure with, at most.")] = 20,
    cascade: Annotated[
        int, typer.Option(min=0, help="Queries to fit and measure a cascade with, at most; 0: none.")
    ] = 100,
    data: Data = None,
    json: Json = False,
) -> None:
    """Measure on this collection how much of the order each level of the patch cache keeps, and a cascade."""
    from dataclasses import replace

    from sightline.cli.output import print_json, progress
    from sightline.cli.query_file import queries_in
    from sightline.upkeep.cache_report import Request

    texts = queries_in(queries) if queries is not None else []
    request = Request(collection, texts, _ranks(ranks), grid, images, most_queries)
    with opened(data, collection) as services, progress() as show:
        answer = services.cache_measurement.report(request, show)
        if cascade:
            learned = services.cascade_measurement.report(collection, texts, cascade, show)
            answer = replace(answer, cascade=learned)
    if json:
        print_json(answer)
    else:
        _print(answer)


def fit(
    collection: CollectionName,
    rank: Annotated[
        int | None, typer.Option(min=1, help="Numbers kept of a patch; a default by the model's width.")
    ] = None,
    grid: Grid = None,
    images: Annotated[int, typer.Option(min=1, help="Images to fit it to, at most.")] = 1000,
    data: Data = None,
    json: Json = False,
) -> None:
    """Fit a codec to a collection now; with SIGHTLINE_INDEXER__PATCH_CODEC=latent it is used from then on."""
    from sightline.cli.output import print_json, progress
    from sightline.console import answers

    with opened(data, collection) as services, progress() as show:
        asked = services.settings.indexer
        grid = asked.codec_grid if grid is None else grid
        codec = services.cache_measurement.fit(collection, rank or asked.codec_rank, grid, images, show)
    told = {
        "codec": codec.id,
        "rank": codec.basis.rank,
        "grid": codec.grid is not None,
        "images": codec.images,
    }
    if json:
        print_json(told)
    else:
        shape = f"rank {codec.basis.rank}{', grid' if codec.grid is not None else ''}"
        answers().print(f"{codec.id}: {shape}, fitted to {codec.images} images")


def _print(answer: CacheReport) -> None:
    from rich.table import Table

    from sightline.console import answers

    table = Table("level", "KB an image", "smaller", "τ", "top 10", "logit error")
    for one in answer.levels:
        name = one.level if one.rank is None else f"{one.level} {one.rank}{' grid' if one.grid else ''}"
        found = one.fidelity
        table.add_row(
            name, f"{one.bytes_per_image / 1000:.1f}", f"{one.times_smaller:.1f}×",
            f"{found.tau:.3f}", f"{found.top10:.3f}", f"{found.logit_error:.4f}",
        )  # fmt: skip
    console = answers()
    console.print(table)
    fitted = f"; latents fitted to {answer.fitted_to} others" if answer.fitted_to else ""
    console.print(
        f"{answer.queries} queries, the best {answer.candidates} by ITC of {answer.images} images"
        f"{fitted}; against uncompressed patches in fp32.",
        soft_wrap=True,
    )
    if answer.precision is not None:
        console.print(_said(answer.precision), soft_wrap=True)
    if answer.cascade is not None:
        _print_cascade(answer.cascade)


def _said(verdict: Verdict) -> str:
    """In which arithmetic pairs are scored, and why."""
    tried = [
        f"{one.arithmetic} τ {one.tau:.3f}, top 10 {one.top10:.3f}, {one.milliseconds:.1f} ms"
        for one in verdict.trials
    ]
    return (
        f"Pairs are scored in {verdict.arithmetic} on this kind of machine ({'; '.join(tried)}; float32 "
        f"{verdict.float32_milliseconds:.1f} ms a pair; {verdict.pictures} pictures, {verdict.texts} texts)."
    )


def _print_cascade(answer: CascadeReport) -> None:
    from rich.table import Table

    from sightline.console import answers

    console = answers()
    if answer.missing is not None:
        console.print(f"No cascade: {answer.missing}", soft_wrap=True)
        return
    table = Table("effort", "best", "overlap", "same first", "work", "stops after", "used")
    for plan in answer.plans:
        stops = ", ".join(str(stop) for stop in plan.stops) or "none"
        table.add_row(
            plan.effort, str(plan.top), f"{plan.overlap:.3f}", f"{plan.first:.3f}", f"{plan.work:.2f}",
            stops, "yes" if plan.passed else "no",
        )  # fmt: skip
    console.print(table)
    default = "auto" if answer.passed else "full"
    console.print(
        f"{answer.queries} queries, up to {answer.candidates} candidates each, in {answer.codec}; measured "
        f"on queries that plans were not chosen by. Searches for 10 hits are {default} unless they say more.",
        soft_wrap=True,
    )


def _ranks(text: str) -> list[int]:
    from sightline.errors import InputError

    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise InputError(f"The option --ranks takes whole numbers with commas, not {text!r}.") from error
