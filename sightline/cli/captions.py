"""``sightline caption`` and ``sightline capfilt``: texts for pictures, and which of them are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.blip.sampling import SamplingName
from sightline.cli.completing import collection_names
from sightline.cli.opening import opened, opened_by
from sightline.cli.options import CollectionName, Data, Filter, Json, Revision, only_one

if TYPE_CHECKING:
    from sightline.blip.sampling import Caption
    from sightline.captioner.report import CapFiltReport
    from sightline.captioner.thresholds import Threshold
    from sightline.store.records import Job
    from sightline.wiring import Installation

Begin = Callable[["Installation"], "Job"]

Count = Annotated[int, typer.Option("--n", min=0, help="How many captions of each picture.")]
Prompt = Annotated[
    str | None, typer.Option(help="How captions begin, or the instruction.", show_default=False)
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed draws the same captions.")]
Id = Annotated[
    list[str] | None,
    typer.Option("--id", metavar="ID", help="Only this image; several times.", show_default=False),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Begin only; running workers do it later.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(caption)
    app.command()(capfilt)


def caption(
    ctx: typer.Context,
    image: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGE…", help="Picture files.", show_default=False)
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection",
            "-c",
            metavar="NAME",
            help="Caption the images of a collection.",
            autocompletion=collection_names,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="ID_OR_DIR", help="Captioner; `demo` for the shipped one.")
    ] = None,
    revision: Revision = None,
    n: Count = 1,
    sampling: Annotated[
        SamplingName, typer.Option(help="greedy: one; beam: the likeliest; nucleus: drawn.")
    ] = "beam",
    prompt: Prompt = None,
    seed: Seed = 0,
    filter: Filter = None,
    id: Id = None,
    no_wait: NoWait = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Describe picture files, or (--collection) all images of a collection, which words then find."""
    from sightline.errors import InputError
    from sightline.store.filters import read_filter

    if collection is None and not image and (filter is not None or id):
        collection = only_one(ctx)
    if bool(image) == (collection is not None):
        raise InputError("Name picture files, or a collection with --collection NAME.")
    if collection is None:
        if filter is not None or id or no_wait:
            raise InputError("The options --filter, --id and --no-wait are about a collection; name one.")
        _describe(image or [], model, revision, n, sampling, prompt, seed, data, json=json)
        return
    chosen = None if filter is None else read_filter(filter)

    def begin(services: Installation) -> Job:
        named = services.writer_names.captioner(services.catalog.collection(collection), model, revision)
        return services.captioning.begin(
            collection, model=named.model, revision=named.revision, n=n, sampling=sampling, prompt=prompt,
            seed=seed, filter=chosen, ids=id or None,
        )  # fmt: skip

    _, answer = _run(begin, "captioning", collection, data, no_wait=no_wait)
    _finish(answer, "captioned", json=json)


def capfilt(
    collection: CollectionName,
    captioner: Annotated[
        str | None, typer.Option(metavar="ID_OR_DIR", help="Captioner; `demo` for the shipped one.")
    ] = None,
    revision: Revision = None,
    n: Count = 1,
    prompt: Prompt = None,
    seed: Seed = 0,
    keep_above: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="P", help="Keep texts from this match probability on."),
    ] = None,
    precision: Annotated[
        float | None, typer.Option(min=0, max=1, help="Keep so that this part is right, by --labels.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lines of {image, text, right}.", show_default=False)
    ] = None,
    text_field: Annotated[
        list[str] | None,
        typer.Option("--text-field", metavar="F", help="Judge this metadata field too; several times."),
    ] = None,
    filter: Filter = None,
    id: Id = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write report.json and histogram.png.")
    ] = None,
    no_wait: NoWait = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Write captions for a collection, judge them and its own texts by ITM, and drop what does not match."""
    from sightline.store.filters import read_filter

    _check_threshold(keep_above, precision, labels)
    chosen = None if filter is None else read_filter(filter)

    def begin(services: Installation) -> Job:
        named = services.writer_names.captioner(services.catalog.collection(collection), captioner, revision)
        return services.capfilt.begin(
            collection, captioner=named.model if n else None, revision=named.revision, n=n, prompt=prompt,
            seed=seed, threshold=_threshold(services, collection, keep_above, precision, labels),
            text_fields=text_field or (), filter=chosen, ids=id or None,
        )  # fmt: skip

    made, answer = _run(begin, "judging", collection, data, no_wait=no_wait, report=True)
    _show(made, answer, report, json=json)
    _finish(answer, "judged", json=json, printed=json)


def _describe(
    images: Sequence[Path],
    model: str | None,
    revision: str | None,
    n: int,
    sampling: SamplingName,
    prompt: str | None,
    seed: int,
    data: Path | None,
    *,
    json: bool,
) -> None:
    """Captions of picture files, decoded one after the other."""
    from sightline.cli.output import print_json
    from sightline.cli.pictures import read_pictures
    from sightline.cli.tables import Column, print_table

    with opened(data) as services:
        named = services.writer_names.captioner(None, model, revision)
        described = services.describing.describe(
            read_pictures(images, services.settings.imaging), model=named.model, revision=named.revision, n=n,
            sampling=sampling, prompt=prompt, seed=seed,
        )  # fmt: skip
    rows = [
        {"image": str(path), "captions": list(map(_told, some))}
        for path, some in zip(images, described, strict=True)
    ]
    if json:
        print_json({"model": named.model, "results": rows})
        return
    cells = [
        [str(path), f"{one.log_probability:.2f}", one.text]
        for path, some in zip(images, described, strict=True)
        for one in some
    ]
    print_table((Column("image", "name"), "log p", Column("caption", "text")), cells)


def _told(caption: Caption) -> dict[str, Any]:
    return {"text": caption.text, "log_probability": caption.log_probability}


def _run(
    begin: Begin, what: str, collection: str, data: Path | None, *, no_wait: bool, report: bool = False
) -> tuple[CapFiltReport | None, dict[str, Any]]:
    """Begin a job and wait for it, with a worker of our own if there is none; what came of it.

    ``report``: the collection's report is wanted once the job has ended.
    """
    from sightline.cli.jobs import EmbeddedWorker, wait
    from sightline.cli.jobs import report as job_report
    from sightline.processes.supervisor import Supervisor
    from sightline.settings import load_settings

    settings = load_settings(data)
    with Supervisor(settings, logs=settings.data_folder / "logs") as supervisor:
        worker = EmbeddedWorker(supervisor)
        with opened_by(settings, collection, after_send=None if no_wait else worker.ensure) as services:
            worker.attach(services)
            services.claim_folders()
            job = begin(services)
            if not no_wait:
                wait(services, job.id, worker, what)
            made = services.capfilt.report(collection, job.id) if report and not no_wait else None
            return made, job_report(services, job.id)


def _show(made: CapFiltReport | None, answer: dict[str, Any], folder: Path | None, *, json: bool) -> None:
    """The report, on stdout and in a folder; none has been made yet where nobody waited."""
    from sightline.cli.output import print_json
    from sightline.cli.text_report import show_report, write_report

    if made is not None and folder is not None:
        write_report(made, folder)
    if json:
        print_json({"job": answer, "report": None if made is None else made.to_json()})
    elif made is not None:
        show_report(made)


def _finish(answer: dict[str, Any], done: str, *, json: bool, printed: bool = False) -> None:
    """Say what became of a job, and leave with its exit code."""
    from sightline.cli.output import OK, PARTLY_FAILED, print_failures, print_json
    from sightline.console import answers, remarks

    if json and not printed:
        print_json(answer)
    elif not json:
        answers().print(f"{answer['processed']:,} {done}, {answer['failed']:,} failed", soft_wrap=True)
        print_failures(answer["errors"][:20])
        if answer["detail"] is not None:
            remarks().print(answer["detail"], style="yellow", markup=False)
        if answer["pending"]:
            remarks().print(
                f"{answer['pending']:,} images wait for a worker (`sightline jobs {answer['job']}`)."
            )
    good = answer["processed"] or answer["pending"] or not answer["failed"]
    failed = answer["state"] in ("cancelled", "failed") or not good
    raise typer.Exit(PARTLY_FAILED if failed else OK)


def _check_threshold(keep_above: float | None, precision: float | None, labels: Path | None) -> None:
    from sightline.errors import InputError

    if (precision is None) != (labels is None):
        raise InputError("The options --precision P and --labels FILE go together.")
    if keep_above is not None and precision is not None:
        raise InputError("Say from which match probability on texts are kept, or with which precision.")


def _threshold(
    services: Installation,
    collection: str,
    keep_above: float | None,
    precision: float | None,
    labels: Path | None,
) -> Threshold | None:
    from sightline.captioner.labels import read_labels
    from sightline.captioner.thresholds import Threshold
    from sightline.console import remarks

    if precision is None or labels is None:
        return None if keep_above is None else Threshold(keep_above)
    found = services.capfilt.threshold(collection, read_labels(labels), precision)
    if found.found is not None:
        told = found.found
        remarks().print(
            f"Texts are kept from {found.keep_above:.4f} on: of {told.labels:,} labels {told.kept:,} "
            f"are, {told.precision:.1%} of them right (with 95 % confidence at least {told.lower_bound:.1%}) "
            f"and {told.recall:.1%} of the right ones.",
            highlight=False,
        )
    return found
