"""``sightline index``: from a source to searchable, by whatever workers there are, else by our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli.opening import opened_by, say_new_folder
from sightline.cli.options import Data, Json, NewCollection, Revision

if TYPE_CHECKING:
    from sightline.store.records import Collection
    from sightline.wiring import Installation

BIG_BYTES = 2 << 30
"""From this size on a run says beforehand how much disk it will take."""
ERRORS_LISTED = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(index)


def index(
    source: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE…", help="File, folder, glob, ZIP/TAR, manifest, dataset or s3://…"),
    ],
    collection: NewCollection,
    model: Annotated[
        str | None,
        typer.Option(metavar="ID_OR_DIR", help="Model of a new collection; `demo` for the shipped one."),
    ] = None,
    revision: Revision = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Keep copies of the originals in the data folder.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Move to the trash what each source no longer has.")
    ] = False,
    prune_limit: Annotated[
        str | None,
        typer.Option(metavar="N|N%", help="Prune that many of a source unasked (20 % and 100, the less)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is new and what would be pruned; change nothing.")
    ] = False,
    id_prefix: Annotated[
        str, typer.Option(metavar="P", help="Put P before every id of these sources.", show_default=False)
    ] = "",
    moved_from: Annotated[
        str | None,
        typer.Option(metavar="OLD", help="The source is what was indexed from OLD.", show_default=False),
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Register only; running workers embed later.")
    ] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Index pictures. The same bytes again cost nothing; new bytes under the same id replace the old ones."""
    from sightline.cli.honest import say_note
    from sightline.cli.jobs import EmbeddedWorker, report, wait
    from sightline.cli.output import OK, PARTLY_FAILED, print_json
    from sightline.cli.pruning import confirmation, show_preview
    from sightline.index_run import begin
    from sightline.indexer.plan import Plan
    from sightline.processes.supervisor import Supervisor
    from sightline.settings import load_settings
    from sightline.wiring import open_installation

    settings = load_settings(data)
    if dry_run:
        with opened_by(settings, collection) as services:
            previews = services.indexer.preview(
                source, collection, prune_limit=prune_limit, id_prefix=id_prefix, moved_from=moved_from
            )
        show_preview(collection, previews, prune=prune, json=json)
        return
    with Supervisor(settings, logs=settings.data_folder / "logs") as supervisor:
        worker = EmbeddedWorker(supervisor)
        with open_installation(settings, after_send=None if no_wait else worker.ensure) as services:
            worker.attach(services)
            plan = Plan(tuple(source), copy, prune, prune_limit, id_prefix, moved_from)

            def announce(bound: Collection, images: int, originals: int) -> None:
                _announce(services, bound, images, originals)
                say_note(bound.model)

            job, unlisted = begin(
                services, plan, collection, model, revision, lambda: say_new_folder(settings), announce,
                confirmation(),
            )  # fmt: skip
            if not no_wait:
                wait(services, job.id, worker)
            answer = report(services, job.id)
            _say_what_was_not_pruned(services, job.id)
    if json:
        print_json(answer)
    else:
        _print(answer, waited=not no_wait)
    raise typer.Exit(OK if _did_something(answer) and not unlisted else PARTLY_FAILED)


def _did_something(answer: dict[str, Any]) -> bool:
    """Single failures are listed and do not fail the run; a run in which everything failed does."""
    good = sum(answer[name] for name in ("indexed", "unchanged", "replaced", "deleted", "pending"))
    done = answer["state"] not in ("cancelled", "failed") and not answer["not_pruned"]
    return done and (good > 0 or answer["failed"] == 0)


def _say_what_was_not_pruned(services: Installation, job_id: str) -> None:
    """A sentence for each source of which nothing was pruned."""
    from sightline.console import remarks
    from sightline.indexer.pruning import NOT_PRUNED

    for line in services.catalog.job_errors(job_id, ERRORS_LISTED, NOT_PRUNED):
        remarks().print(line.detail, markup=False, soft_wrap=True)


def _announce(services: Installation, collection: Collection, images: int, originals: int) -> None:
    """Before a big run: how much disk it will take."""
    from sightline.blip.patch_size import image_bytes
    from sightline.console import remarks
    from sightline.indexer.estimate import Shape, estimate
    from sightline.types import AUTO_CODEC, FP16, LATENT

    settings = services.settings.indexer
    level: str = settings.patch_codec
    if level == AUTO_CODEC:
        there = services.catalog.collection_counts_of(collection.id)["live"]
        level = LATENT if images + there >= settings.codec_from else FP16
    patches = image_bytes(level, *services.models.patch_shape(collection))
    shape = Shape(collection.num_query_tokens, collection.joint_dim, patches)
    guess = estimate(images, originals, shape, settings.thumbnail_bytes, services.settings.segments_folder)
    if guess.total < BIG_BYTES and guess.fits:
        return
    console = remarks()
    console.print(
        f"{guess.images} images will take about {_gigabytes(guess.total)} of disk, were all of them new: "
        f"{_gigabytes(guess.patches)} patches, {_gigabytes(guess.tokens + guess.index)} tokens and index, "
        f"{_gigabytes(guess.thumbnails)} thumbnails, {_gigabytes(guess.originals)} copies. "
        f"Free: {_gigabytes(guess.free)}."
    )
    if not guess.fits:
        console.print(
            "[yellow]That is more than there is; SIGHTLINE_INDEXER__PATCH_CODEC=latent needs far less.[/]"
        )


def _print_passed_over(answer: dict[str, Any]) -> None:
    """What is no picture, by kind, and what was broken before: neither is a failure of this run."""
    from sightline.console import answers
    from sightline.imaging.file_kinds import ARCHIVE, MANIFEST, counted

    if answer["skipped"]:
        named = "; name archives and manifests as sources to index what they hold"
        hint = named if {ARCHIVE, MANIFEST} & answer["skipped"].keys() else ""
        answers().print(f"skipped: {counted(answer['skipped'])}{hint}", soft_wrap=True)
    if answer["known_broken"]:
        answers().print(
            f"{answer['known_broken']} as broken as before, not tried again (`sightline jobs JOB --retry` of "
            "the job that met them first does)",
            soft_wrap=True,
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _print(answer: dict[str, Any], *, waited: bool) -> None:
    from sightline.cli.output import print_failures
    from sightline.console import answers, remarks
    from sightline.indexer.pruning import NOT_PRUNED

    names = ("indexed", "unchanged", "replaced", "deleted", "failed")
    console = answers()
    counts = [f"{answer[name]} {'moved to the trash' if name == 'deleted' else name}" for name in names]
    if answer["refreshed"]:
        counts[1] += f" ({answer['refreshed']} at a new address)"
    if answer["id_taken"]:
        counts[-1] += f" ({answer['id_taken']} with an id of another source)"
    if answer["duplicates"]:
        counts.append(f"{answer['duplicates']} named again")
    console.print(", ".join(counts), soft_wrap=True)
    if answer["found"]:
        remarks().print(f"Read as {'; '.join(answer['found'])}.", markup=False, soft_wrap=True)
    _print_passed_over(answer)
    if answer["detail"] is not None:
        remarks().print(answer["detail"], style="yellow", markup=False)
    if answer["deleted"]:
        images = f"sightline trash list --collection {answer['collection']}"
        remarks().print(f"What was moved to the trash: {images}", markup=False, soft_wrap=True)
    listed = [error for error in answer["errors"] if error["reason"] != NOT_PRUNED]  # said already
    print_failures(listed[:ERRORS_LISTED])
    left_out = answer["failed"] - answer["not_pruned"] - ERRORS_LISTED
    if left_out > 0:
        console.print(f"  … and {left_out} more; `sightline jobs {answer['job']} --errors` lists them")
    if not waited and answer["pending"]:
        remarks().print(
            f"{answer['pending']} images wait for a worker; `sightline jobs {answer['job']}` tells how far."
        )
