"""``sightline search`` and ``sightline rerank``."""

from __future__ import annotations

from dataclasses import asdict
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli.answering_by_server import Local
from sightline.cli.counting import Cursor, Exact, Sort, remark_total
from sightline.cli.opening import opened
from sightline.cli.options import CollectionName, Data, Filter, Json, Revision, Show
from sightline.cli.showing import show_hits
from sightline.cli.similar import QueryFile, found_here
from sightline.records import Effort, Precision, ScoreName, SearchHit, SearchRequest, SearchResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

Score = Annotated[ScoreName, typer.Option("--score", help="What orders the judged candidates.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(search)
    app.command()(rerank)


def search(
    collection: CollectionName,
    text: Annotated[
        str,
        typer.Argument(
            metavar="[TEXT]", help='What the pictures should show: red car -house, or night + "a red car".'
        ),
    ] = "",
    image: QueryFile = None,
    limit: Annotated[int, typer.Option("-k", "--limit", min=1, help="How many hits.")] = 10,
    offset: Annotated[int, typer.Option(min=0, help="Hits to pass over.")] = 0,
    candidates: Annotated[int, typer.Option(min=1, help="How many candidates ITM judges.")] = 100,
    rerank: Annotated[bool, typer.Option("--rerank/--no-rerank", help="Judge the candidates by ITM.")] = True,
    score: Score = "itm+itc",
    filter: Filter = None,
    min_probability: Annotated[
        float | None, typer.Option(min=0, max=1, help="Drop hits below this match probability.")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="exact: judge the best 2 · (offset + k) again in float32.")
    ] = "fast",
    deadline_ms: Annotated[
        float | None, typer.Option(min=1, help="Leave unjudged what takes longer than this.")
    ] = None,
    effort: Annotated[
        Effort | None,
        typer.Option(help="full: judge all candidates; auto, quick: fewer, by what was learned here."),
    ] = None,
    texts: Annotated[
        bool, typer.Option("--texts/--no-texts", help="Let words of captions bring candidates, too.")
    ] = True,
    exact_index: Annotated[
        bool,
        typer.Option("--exact-index", help="Compare every image where the index is approximate; slow."),
    ] = False,
    collapse: Annotated[
        bool, typer.Option("--collapse", help="Show one of each group of near duplicates.")
    ] = False,
    instruction: Annotated[
        str | None,
        typer.Option(help="Order by yes or no: a question about a picture, in place of the model's ITM."),
    ] = None,
    instruction_model: Annotated[
        str | None,
        typer.Option(metavar="ID_OR_DIR", help="Who answers it; else the installation's answerer."),
    ] = None,
    literal: Annotated[
        bool, typer.Option("--literal", help="Signs mean nothing: the whole TEXT is one sentence.")
    ] = False,
    sort: Sort = None,
    exact: Exact = False,
    cursor: Cursor = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why each hit is one; with -k of at most 20.")
    ] = False,
    show: Show = False,
    local: Local = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Find pictures in words."""
    from sightline.cli.answering_by_server import found_by_server
    from sightline.cli.output import print_json
    from sightline.errors import InputError
    from sightline.records import InstructedMatcher
    from sightline.settings import load_settings
    from sightline.store.filters import read_filter
    from sightline.typed_queries import parse

    if instruction_model is not None and instruction is None:
        raise InputError("The option --instruction-model needs --instruction.")
    asked = text if literal or not text.strip() else parse(text)
    said, query = (asked, None) if isinstance(asked, str) else ("", asked)
    request = SearchRequest(
        collection=collection, text=said, query=query, limit=limit, offset=offset, candidates=candidates,
        rerank=rerank, score=score, filter=None if filter is None else read_filter(filter),
        min_probability=min_probability, precision=precision, deadline_ms=deadline_ms, effort=effort,
        texts=texts, index="exact" if exact_index else "auto", sort=sort, exact=exact, cursor=cursor,
        explain=explain, collapse=collapse,
        matcher=None if instruction is None else InstructedMatcher(instruction, instruction_model),
    )  # fmt: skip
    settings = load_settings(data)
    response = found_by_server(settings, request, image, local=local) or found_here(settings, request, image)
    if json:
        print_json(response)
    else:
        judged = rerank and score != "itc" and text.strip()
        _print_hits(response, min(candidates, response.images) if judged else 0)
    if show:
        show_hits(data, text or str(image), response.results)


def rerank(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the picture should show.")],
    image: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Picture files.")],
    model: Annotated[
        str | None, typer.Option(metavar="ID_OR_DIR", help="Model; `demo` for the shipped one.")
    ] = None,
    revision: Revision = None,
    score: Score = "itm+itc",
    data: Data = None,
    json: Json = False,
) -> None:
    """Order picture files by how well they match a text; needs no collection and no server."""
    from sightline.cli.output import print_json
    from sightline.reranker import Reranker

    with opened(data) as services:
        chosen = services.settings.model
        name = model or chosen.name
        loaded = services.models.load(name, revision or (chosen.revision if model is None else None))
        reranker = Reranker(loaded, encoder=loaded, limits=services.settings.imaging)
        ranked = reranker.rank(text, image, score=score)
    rows = [
        {"image": str(image[one.index]), "rank": place, **asdict(one)} for place, one in enumerate(ranked, 1)
    ]
    for row in rows:
        del row["document"]  # the image says it
    if json:
        print_json({"text": text, "model": name, "results": rows})
    else:
        _print_ranking(rows)


def _print_hits(response: SearchResponse, candidates: int) -> None:
    """``candidates``: how many ITM was given."""
    from sightline.cli.explaining import print_reasons
    from sightline.cli.hits import print_hits
    from sightline.cli.honest import remarks_on
    from sightline.console import remarks

    columns, rows = _scores(response.results)
    print_hits(response.results, columns, rows)
    print_reasons(response.results)
    took = response.timings
    remarks().print(
        f"[dim]{response.images} images · {_judged(response, candidates)} · encode {took.encode_ms:.0f} ms, "
        f"retrieve {took.retrieve_ms:.0f} ms, rerank {took.rerank_ms:.0f} ms[/]"
    )
    if response.recall is not None:
        found = f"finds {floor(1000 * response.recall) / 10} % of the best 100, as measured when it was built"
        told = found if response.recall else "was not measured: no texts were there when it was built"
        remarks().print(f"[dim]The index is approximate: it {told}; --exact-index misses nothing.[/]")
    remark_total(response)
    for sentence in response.degraded:
        remarks().print(f"[yellow]{sentence}[/]")
    for sentence in remarks_on(response):
        remarks().print(sentence, style="yellow", markup=False, highlight=False)
    if response.truncated:
        remarks().print("[yellow]The text is longer than the model reads; its end was cut.[/]")


def _scores(hits: Sequence[SearchHit]) -> tuple[list[str], list[list[str | Text]]]:
    """Headings of the numbers that these hits have, and the numbers."""
    by_words = any(hit.found_by == "text" for hit in hits)
    like = any(hit.similarity is not None for hit in hits)
    names = ["match", *(["like it"] if like else []), "ITC", "moved", *(["found by"] if by_words else [])]
    rows: list[list[str | Text]] = []
    for hit in hits:
        match = "–" if hit.match_probability is None else f"{hit.match_probability:.3f}"
        similar = [f"{hit.similarity or 0:.3f}"] if like else []
        by = [hit.found_by] if by_words else []
        rows.append([match, *similar, f"{hit.itc:.3f}", _moved(hit), *by])
    return names, rows


def _judged(response: SearchResponse, candidates: int) -> str:
    """What ITM did, and the effort where that is not all that it could."""
    if response.total is not None:
        return f"ITM scored {response.scored}"
    if not candidates:
        return "ITC alone"
    said = f"ITM scored {response.scored} of {candidates} candidates"
    return said if response.effort == "full" else f"{said} (effort {response.effort})"


def _moved(hit: SearchHit) -> Text:
    """How far ITM moved a hit from its place by ITC."""
    from rich.text import Text

    if hit.itm_logit is None or hit.itc_rank is None:
        return Text("")
    places = hit.itc_rank - hit.rank
    if places == 0:
        return Text("·")
    return Text(f"↑{places}", "green") if places > 0 else Text(f"↓{-places}", "red")


def _print_ranking(rows: list[dict[str, Any]]) -> None:
    from sightline.cli.tables import Column, print_table

    columns = ("rank", Column("image", "name"), "match", "ITM", "ITC")
    print_table(columns, [_ranked(row) for row in rows])


def _ranked(row: dict[str, Any]) -> list[str]:
    numbers = (f"{row['match_probability']:.3f}", f"{row['itm_logit']:+.2f}", f"{row['itc']:.3f}")
    return [str(row["rank"]), row["image"], *numbers]
