"""``sightline texts``: what is said of a collection's images, which of it is kept, and copies of that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli.opening import opened
from sightline.cli.options import CollectionName, Data, Json

if TYPE_CHECKING:
    from sightline.captioner.exports import ExportFormat
    from sightline.store.catalog import Catalog
    from sightline.store.text_records import StoredText, Verdict

TextIds = Annotated[list[int], typer.Argument(metavar="ID…", help="Numbers of texts, as `texts list` shows.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Texts of images: list, overrule, export.")
    group.command("list")(list_texts)
    group.command()(keep)
    group.command()(drop)
    group.command()(withdraw)
    group.command()(export)
    group.command()(report)
    app.add_typer(group, name="texts")


def list_texts(
    collection: CollectionName,
    verdict: Annotated[str | None, typer.Option(help="kept, dropped or unjudged.")] = None,
    source: Annotated[str | None, typer.Option(help="given, metadata.FIELD or captioner.")] = None,
    overruled: Annotated[
        bool | None, typer.Option("--overruled/--not-overruled", help="Those that people decided about.")
    ] = None,
    contains: Annotated[str | None, typer.Option(metavar="WORDS", help="Texts with these words.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """List texts with their source, match probability and verdict."""
    from sightline.cli.output import print_json
    from sightline.cli.tables import Column, print_table
    from sightline.console import remarks

    with opened(data, collection) as services:
        found = services.catalog.collection(collection)
        chosen = None if verdict is None else _verdict(verdict)
        page = services.catalog.text_page(found.id, chosen, source, overruled, contains, cursor, limit)
    if json:
        print_json(page)
        return
    names = ("text", Column("image", "name"), "source", "match", "verdict", Column("", "text"))
    print_table(names, [_row(text) for text in page.items])
    if page.next_cursor is not None:
        remarks().print(f"{page.total:,} in all; the next: --cursor {page.next_cursor}", markup=False)


def keep(collection: CollectionName, text: TextIds, data: Data = None, json: Json = False) -> None:
    """Keep texts, whatever a job says of them, now or later."""
    _overrule(collection, text, "kept", data, json=json)


def drop(collection: CollectionName, text: TextIds, data: Data = None, json: Json = False) -> None:
    """Drop texts, whatever a job says of them, now or later."""
    _overrule(collection, text, "dropped", data, json=json)


def withdraw(collection: CollectionName, text: TextIds, data: Data = None, json: Json = False) -> None:
    """Leave texts to the jobs again."""
    _overrule(collection, text, None, data, json=json)


def report(
    collection: CollectionName,
    job: Annotated[
        str | None, typer.Option(metavar="ID", help="Texts that this job judged; all, when left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write report.json and histogram.png.")
    ] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Say what was kept and dropped: counts by source, a histogram, a few examples."""
    from sightline.cli.output import print_json
    from sightline.cli.text_report import show_report, write_report

    with opened(data, collection) as services:
        made = services.capfilt.report(collection, job)
    if out is not None:
        write_report(made, out)
    if json:
        print_json(made)
    else:
        show_report(made)


def export(
    collection: CollectionName,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A file, or a folder for webdataset.")],
    format: Annotated[str, typer.Option(help="jsonl, parquet or webdataset.")] = "jsonl",
    also: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="VERDICT", help="Dropped or unjudged texts too; several times."),
    ] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Write the pictures and their kept texts for whoever trains with them."""
    from sightline.cli.output import print_failures, print_json
    from sightline.console import answers, remarks

    verdicts: list[Verdict] = ["kept", *(_verdict(one) for one in also or ())]
    with opened(data, collection) as services:
        exported = services.exports.write(collection, out, _format(format), verdicts)
    if json:
        print_json(exported)
        return
    said = f"{exported.texts:,} texts of {exported.images:,} images: {exported.out}"
    answers().print(said, markup=False, soft_wrap=True)
    if exported.left_out:
        remarks().print(f"{exported.left_out:,} pictures cannot be read and were left out:")
        print_failures(exported.examples)


def _overrule(
    collection: str, ids: list[int], verdict: Verdict | None, data: Path | None, *, json: bool
) -> None:
    from sightline.cli.output import PARTLY_FAILED, print_error, print_json
    from sightline.console import answers
    from sightline.errors import NotFoundError

    with opened(data, collection) as services:
        number = services.catalog.collection(collection).id
        known = [one for one in dict.fromkeys(ids) if _decided(services.catalog, number, one, verdict)]
    unknown = sorted(set(ids) - set(known))
    what = "is no text" if len(unknown) == 1 else "are no texts"
    missing = NotFoundError(f"There {what} {', '.join(map(str, unknown))} in this collection.")
    if not known:
        raise missing
    done = verdict or "withdrawn"
    if json:
        print_json({"collection": collection, "texts": known, "verdict": done, "not_found": unknown})
    else:
        answers().print(f"{len(known)} {done}")
    if unknown:
        print_error(missing, as_json=False)
        raise typer.Exit(PARTLY_FAILED)


def _decided(catalog: Catalog, collection_id: int, text_id: int, verdict: Verdict | None) -> bool:
    """Whether there is such a text; if so, that is a person's verdict now (None: taken back)."""
    from sightline.errors import NotFoundError

    try:
        if verdict is None:
            catalog.withdraw_overruling(collection_id, text_id)
        else:
            catalog.overrule_text(collection_id, text_id, verdict)
    except NotFoundError:
        return False
    return True


def _row(text: StoredText) -> list[str]:
    match = "–" if text.match_probability is None else f"{text.match_probability:.3f}"
    by = f"{text.verdict}, by a person" if text.overruled else text.verdict
    return [str(text.id), text.image_id, text.source, match, by, text.text]


def _verdict(name: str) -> Verdict:
    from sightline.errors import InputError
    from sightline.store.text_records import VERDICTS

    for verdict in VERDICTS:
        if verdict == name:
            return verdict
    raise InputError(f"A verdict is one of {', '.join(VERDICTS)}, not {name!r}.")


def _format(name: str) -> ExportFormat:
    from sightline.captioner.exports import FORMATS
    from sightline.errors import InputError

    for format in FORMATS:
        if format == name:
            return format
    raise InputError(f"The format is one of {', '.join(FORMATS)}, not {name!r}.")
