"""``sightline watch``: folders that are followed until told to stop."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli.options import CollectionName, Data, Json

if TYPE_CHECKING:
    from sightline.settings import Settings
    from sightline.watching.watch import Told, Watched
    from sightline.wiring import Installation

COUNTED = ("indexed", "replaced", "deleted", "failed")
NAMES = {"deleted": "moved to the trash"}
ERRORS_LISTED = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(watch)


def watch(
    folder: Annotated[list[str], typer.Argument(metavar="FOLDER…", help="Folders on this machine.")],
    collection: CollectionName,
    model: Annotated[
        str | None,
        typer.Option(metavar="ID_OR_DIR", help="Model of a new collection; `demo` for the shipped one."),
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Keep copies of the originals in the data folder.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="Move what goes to the trash, or leave it.")
    ] = True,
    prune_limit: Annotated[
        str | None,
        typer.Option(
            metavar="N|N%", help="Prune that many of a folder at once (100; at the start as index)."
        ),
    ] = None,
    id_prefix: Annotated[
        str, typer.Option(metavar="P", help="Put P before every id of these folders.", show_default=False)
    ] = "",
    poll: Annotated[
        bool, typer.Option("--poll", help="Look again and again, where the system tells of no changes (NFS).")
    ] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Follow folders: what appears, changes and goes in them is indexed, until Ctrl-C."""
    from sightline.settings import load_settings
    from sightline.watching.watch import Watched

    folders = tuple(dict.fromkeys(_checked(one) for one in folder))
    watched = Watched(folders, collection, model, copy, prune, prune_limit, id_prefix, poll)
    _run(load_settings(data), watched, as_json=json)


def _run(settings: Settings, watched: Watched, *, as_json: bool) -> None:
    import time

    from sightline.cli.jobs import EmbeddedWorker
    from sightline.index_run import POLL_SECONDS
    from sightline.processes.supervisor import Supervisor
    from sightline.watching.claims import claimed
    from sightline.watching.watch import Watch
    from sightline.wiring import open_installation

    with Supervisor(settings, logs=settings.data_folder / "logs") as supervisor, _ends_in_order():
        worker = EmbeddedWorker(supervisor)

        def turn() -> None:
            worker.ensure()
            time.sleep(POLL_SECONDS)

        with (
            claimed(settings.data_folder, watched.collection, watched.folders),
            open_installation(settings, after_send=worker.ensure) as services,
        ):
            worker.attach(services)
            Watch(services, watched, turn, lambda told: _tell(services, told, as_json=as_json)).run()


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """Inside, SIGTERM stops in the way of Ctrl-C: locks are given back, workers end; all is well then."""
    import signal

    asked: list[int] = []

    def told(number: int, frame: object) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, told)
    try:
        yield
    except KeyboardInterrupt:
        if not asked:
            raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _checked(folder: str) -> str:
    from sightline.errors import InputError
    from sightline.indexer.files import is_text
    from sightline.indexer.sources.listing import address_of

    path = os.path.abspath(os.path.expanduser(folder))
    if not os.path.isdir(path):
        raise InputError(f"There is no folder {folder}; only folders can be followed.")
    if not is_text(path):
        raise InputError("The name of the folder is no UTF-8 text; rename it.")
    return address_of(folder)


def _tell(services: Installation, told: Told, *, as_json: bool) -> None:
    """One line (with ``--json`` one document) for each batch that changed something, and each sentence."""
    from sightline.cli.jobs import report
    from sightline.console import remarks

    if told.job is None:
        if as_json:
            _line({"folder": told.folder, "told": told.sentence})
        else:
            remarks().print(told.sentence, markup=False, soft_wrap=True)
        return
    answer = report(services, told.job)
    errors = answer["errors"][:ERRORS_LISTED]
    news = (
        told.whole or any(answer[name] for name in (*COUNTED, "id_taken", "not_pruned")) or answer["skipped"]
    )
    if news and as_json:
        _line({"folder": told.folder, **answer, "errors": errors})
    elif news:
        _print(told.folder, answer, errors)


def _print(folder: str, answer: dict[str, Any], errors: Sequence[dict[str, Any]]) -> None:
    from sightline.console import answers
    from sightline.imaging.file_kinds import counted

    counts = [f"{answer[name]} {NAMES.get(name, name)}" for name in COUNTED if answer[name]]
    if answer["skipped"]:
        counts.append(f"skipped: {counted(answer['skipped'])}")
    if answer["known_broken"]:
        counts.append(f"{answer['known_broken']} as broken as before")
    console = answers()
    console.print(f"{folder}: {', '.join(counts) or 'nothing new'}", markup=False, soft_wrap=True)
    for error in errors:
        console.print(f"  {error['id']}: {error['detail']}", markup=False, soft_wrap=True)


def _line(answer: dict[str, Any]) -> None:
    import sys

    from sightline.cli.output import print_line

    print_line(answer)
    sys.stdout.flush()  # whoever reads a pipe waits for it
