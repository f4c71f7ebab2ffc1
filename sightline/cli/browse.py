"""``sightline collections``, ``jobs`` and ``delete``: what the catalog holds. None of them loads a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli.completing import collection_names, job_ids
from sightline.cli.opening import opened
from sightline.cli.options import CollectionName, Data, Filter, Json, was_given

if TYPE_CHECKING:
    from sightline.wiring import Installation

JOBS_SHOWN = 50


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(collections)
    app.command()(jobs)
    app.command()(delete)


def collections(data: Data = None, json: Json = False) -> None:
    """List the collections, their models and how many images they hold."""
    from sightline.cli.output import print_json
    from sightline.cli.tables import Column, print_table
    from sightline.console import answers

    with opened(data) as services:
        rows = [asdict(one.collection) | one.counts for one in services.catalog.overview()]
    if json:
        for row in rows:
            del row["feature_set_id"]  # the catalog's own
        print_json({"collections": rows})
        return
    if not rows:
        answers().print("No collections yet: `sightline index FOLDER --collection NAME` makes one.")
        return
    columns = ("name", Column("model", "name"), "images", "pending", "failed", "trash", "segments", "MB")
    names = ("name", "model", "live", "pending", "failed", "trashed", "segments")
    print_table(columns, [[*(str(row[name]) for name in names), f"{row['bytes'] / 1e6:.1f}"] for row in rows])


def jobs(
    job: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="One job; without it, the latest ones.", autocompletion=job_ids),
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop the job; what is published stays.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Embed its failed images again.")] = False,
    errors: Annotated[
        bool, typer.Option("--errors", help="All its failures and nothing else; with --json one a line.")
    ] = False,
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection", "-c", metavar="NAME", help="Only its jobs.", autocompletion=collection_names
        ),
    ] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show jobs; with an ID, its counts and errors."""
    from sightline.errors import InputError

    if (cancel or retry or errors) and job is None:
        raise InputError("Name the job: sightline jobs ID --cancel, --retry, or --errors.")
    if cancel and retry:
        raise InputError("A job can be cancelled or retried, not both at once.")
    with opened(data, collection) as services:
        if job is None:
            _list_jobs(services, collection, json=json)
            return
        if cancel:
            services.catalog.cancel_job(job)
        if retry:
            services.indexer.retry(job)
        if errors:
            _list_errors(services, job, json=json)
        else:
            _show_job(services, job, json=json)


def delete(
    ctx: typer.Context,
    collection: CollectionName,
    id: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="An image; give it several times.")
    ] = None,
    filter: Filter = None,
    all: Annotated[bool, typer.Option("--all", help="The whole collection, with everything in it.")] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Not to the trash: leave no trace, at once and for good.")
    ] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Move images by id or filter, or (--all) the collection, to the trash: no search finds them any more."""
    from sightline.cli.output import print_json
    from sightline.console import answers
    from sightline.errors import InputError
    from sightline.store.conditions import Filter
    from sightline.store.filters import parse_filter, read_filter

    if sum((bool(id), filter is not None, all)) != 1:
        raise InputError("Say what to delete: --id ID (several times), --filter JSON, or --all.")
    if all and not was_given(ctx, "collection"):
        raise InputError("Name the collection that --all deletes: -c NAME.")
    parsed = None if filter is None else parse_filter(read_filter(filter))
    if parsed == Filter():
        raise InputError("An empty filter names every image; --all deletes the whole collection.")
    with opened(data, collection) as services:
        if all:
            deleted = _delete_collection(services, collection, purge=purge)
        elif purge:
            deleted = len(services.purging.images(collection, id, parsed))
        else:
            number = services.catalog.collection(collection).id
            deleted = services.catalog.delete_images(number, ids=id, filter=parsed)
    missing = len(set(id)) - deleted if id else 0
    if json:
        print_json({"collection": collection, "deleted": deleted, "not_found": missing, "purged": purge})
    else:
        what = f"{deleted} {'purged' if purge else 'moved to the trash'}"
        images = f"--collection {collection} ID…"
        how = f"sightline trash restore {collection if all else images}"
        back = "" if purge or not deleted else f"; to have them back: {how}"
        answers().print(
            what + (f", {missing} not found" if missing else "") + back, markup=False, soft_wrap=True
        )
    if id and not deleted:
        from sightline.cli.output import NOT_FOUND

        raise typer.Exit(NOT_FOUND)


def _delete_collection(services: Installation, collection: str, *, purge: bool) -> int:
    """How many images that were."""
    count = services.catalog.collection_counts(collection)["live"]
    if purge:
        services.purging.collection(collection)
    else:
        services.catalog.delete_collection(collection)
    return count


def _list_jobs(services: Installation, collection: str | None, *, json: bool) -> None:
    from sightline.cli.output import print_json
    from sightline.cli.tables import Column, print_table
    from sightline.console import answers

    jobs = services.catalog.jobs(collection, JOBS_SHOWN)
    found = [services.catalog.job_report(job.id, 0) for job in jobs]
    rows = [asdict(one.job) | asdict(one.progress) for one in found]
    if json:
        print_json({"jobs": rows})
    elif not rows:
        answers().print("No jobs yet.")
    else:
        columns = ("id", "kind", "collection", "state", Column("images", "text"))
        names = ("id", "kind", "collection", "state")
        print_table(columns, [[*(str(row[name]) for name in names), _counted(row)] for row in rows])


def _counted(row: Mapping[str, Any]) -> str:
    """``60 indexed, 2 failed``: whatever there is any of."""
    names = ("indexed", "unchanged", "replaced", "deleted", "failed", "pending")
    return ", ".join(f"{row[name]:,} {name}" for name in names if row[name]) or "none"


def _show_job(services: Installation, job_id: str, *, json: bool) -> None:
    from sightline.cli.jobs import report
    from sightline.cli.output import print_failures, print_json
    from sightline.console import answers

    answer: dict[str, Any] = report(services, job_id)
    if json:
        print_json(answer)
        return
    console = answers()
    for name, value in answer.items():
        if name not in ("errors", "errors_left_out") and value is not None:
            console.print(f"{name:>10}  {value}", markup=False)
    print_failures(answer["errors"])
    if left_out := answer["errors_left_out"]:
        console.print(f"  … and {left_out:,} more; `sightline jobs {job_id} --errors` lists them all.")


def _list_errors(services: Installation, job_id: str, *, json: bool) -> None:
    from sightline.cli.jobs import all_errors
    from sightline.cli.output import print_failures, print_line

    for error in map(asdict, all_errors(services, job_id)):
        if json:
            print_line(error)
        else:
            print_failures([error])
