"""``sightline similar``: pictures of a collection that are like one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli.answering_by_server import Local
from sightline.cli.opening import opened_by
from sightline.cli.options import CollectionName, Data, Filter, Json, Show
from sightline.cli.showing import show_hits

if TYPE_CHECKING:
    from sightline.records import SearchRequest, SearchResponse
    from sightline.rerank_records import PendingImage
    from sightline.settings import Settings
    from sightline.types import RGB
    from sightline.wiring import Installation

QueryFile = Annotated[
    Path | None,
    typer.Option("--image", metavar="FILE", help="A picture: others like it, TEXT telling the rest."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(similar)


def similar(
    collection: CollectionName,
    image: Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="A picture file.")] = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="An image of the collection, in its place.")
    ] = None,
    limit: Annotated[int, typer.Option("-k", "--limit", min=1, help="How many hits.")] = 10,
    offset: Annotated[int, typer.Option(min=0, help="Hits to pass over.")] = 0,
    filter: Filter = None,
    exact_index: Annotated[
        bool,
        typer.Option("--exact-index", help="Compare every image where the index is approximate; slow."),
    ] = False,
    show: Show = False,
    local: Local = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Find pictures like one, by its query tokens; `search --image` adds words."""
    from sightline.cli.answering_by_server import found_by_server
    from sightline.cli.output import print_json
    from sightline.errors import InputError
    from sightline.records import SearchRequest
    from sightline.rerank_records import StoredImage
    from sightline.settings import load_settings
    from sightline.store.filters import read_filter

    if (image is None) == (id is None):
        raise InputError("Name one picture: a file, or with --id an image of the collection.")
    request = SearchRequest(
        collection, image=None if id is None else StoredImage(collection, id), limit=limit, offset=offset,
        filter=None if filter is None else read_filter(filter), index="exact" if exact_index else "auto",
    )  # fmt: skip
    settings = load_settings(data)
    response = found_by_server(settings, request, image, local=local) or found_here(settings, request, image)
    if json:
        print_json(response)
    else:
        _print(response)
    if show:
        show_hits(data, f"like {id or image}", response.results)


def found_here(settings: Settings, request: SearchRequest, image: Path | None) -> SearchResponse:
    """The answer of this process; ``image``: the file that is asked with, in place of the request's."""
    with opened_by(settings, request.collection) as services:
        if image is not None:
            request = replace(request, image=query_file(services, image))
        return services.search.find(request)


def query_file(services: Installation, path: Path) -> PendingImage:
    """A picture file as a query: read and decoded when the search is let in."""
    from sightline.cli.pictures import read_pictures
    from sightline.rerank_records import PendingImage

    def decode() -> RGB:
        return next(read_pictures([path], services.settings.imaging))

    if not path.is_file():  # said when it is read
        return PendingImage(decode)
    with path.open("rb") as file:
        return PendingImage(decode, hashlib.file_digest(file, "sha256").hexdigest())


def _print(response: SearchResponse) -> None:
    from sightline.cli.hits import print_hits
    from sightline.console import remarks

    print_hits(response.results, ("similarity",), [[f"{hit.score:.3f}"] for hit in response.results])
    took = response.timings
    remarks().print(
        f"[dim]{response.images} images · encode {took.encode_ms:.0f} ms, "
        f"retrieve {took.retrieve_ms:.0f} ms[/]"
    )
    if response.approximate:
        remarks().print("[dim]The index is approximate and may miss images; --exact-index misses nothing.[/]")
    for sentence in response.degraded:
        remarks().print(f"[yellow]{sentence}[/]")
