"""``serve``, ``worker``, ``builder`` and ``up``, each in the foreground; besides ``migrate`` and ``ping``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sightline.cli.opening import opened_by
from sightline.cli.options import Data

if TYPE_CHECKING:
    from sightline.settings import Settings

log = logging.getLogger(__name__)

Host = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Address to listen on (SIGHTLINE_API__HOST).")
]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="TCP port (SIGHTLINE_API__PORT).")]

Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Serve other machines without a key (SIGHTLINE_API__INSECURE)."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (serve, worker, builder, up, migrate, ping):
        app.command()(command)


def serve(host: Host = None, port: Port = None, insecure: Insecure = False, data: Data = None) -> None:
    """Serve the page and the HTTP API."""
    from sightline.processes import lifeline
    from sightline.processes.serve import serve as run
    from sightline.settings import load_settings

    lifeline.watch()
    run(listening(load_settings(data), host, port, insecure))


def worker(data: Data = None) -> None:
    """Embed pictures until told to stop. SIGTERM finishes the batch in hand."""
    from sightline.indexer.queue.presence import Presence
    from sightline.indexer.queue.worker import run_worker
    from sightline.processes import lifeline
    from sightline.processes.logs import log_json_lines
    from sightline.settings import load_settings
    from sightline.wiring import open_installation

    lifeline.watch()
    settings = load_settings(data)
    log_json_lines(settings.log.level)
    with open_installation(settings) as services:
        services.claim_folders()
        with Presence(services.catalog), services.worker_note:
            status = run_worker(
                services.app,
                services.indexer.tasks,
                services.work,
                stall_seconds=settings.indexer.stall_seconds,
                log_level=settings.log.level.upper(),
            )
    raise typer.Exit(status)


def builder(data: Data = None) -> None:
    """Keep the index: fold new segments, merge small ones, sweep lost leases, clean up."""
    from sightline.processes import lifeline
    from sightline.processes.logs import log_json_lines
    from sightline.settings import load_settings
    from sightline.wiring import open_installation

    lifeline.watch()
    settings = load_settings(data)
    log_json_lines(settings.log.level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_installation(settings) as services, services.saved_watch.running(stop):
        if not services.builder.run(stop):
            log.warning("a long build was dropped; the next builder begins it again")
            logging.shutdown()
            os._exit(0)  # FAISS cannot be told to stop, and Python would wait for it


def up(
    host: Host = None,
    port: Port = None,
    insecure: Insecure = False,
    logs: Annotated[
        bool, typer.Option("--logs", help="Log lines on the terminal, not in logs/ of the data folder.")
    ] = False,
    data: Data = None,
) -> None:
    """API, one worker and the builder in one command, until Ctrl-C."""
    from sightline.processes.up import run
    from sightline.settings import load_settings

    settings = load_settings(data)
    hidden = sys.stderr.isatty() and not logs  # a service manager reads stderr
    run(listening(settings, host, port, insecure), settings.data_folder / "logs" if hidden else None)


def migrate(
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="REVISION", help="An earlier schema, such as 0002; stop everything before."
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Bring the catalog's schema to this version; the other commands do so by themselves.

    With --to, take it back for an earlier version of the program: nothing may run meanwhile.
    """
    from sightline.console import remarks
    from sightline.settings import load_settings
    from sightline.wiring import open_installation

    if to is not None:
        remarks().print(_migrate_to(load_settings(data), to))
        return
    with open_installation(load_settings(data)) as services:
        services.catalog.collections()
    remarks().print("The catalog is up to date.")


def _migrate_to(settings: Settings, revision: str) -> str:
    """What was done, in a sentence."""
    from contextlib import closing

    from sightline.store.catalog_lock import CatalogLock
    from sightline.store.database import Database, make_engine
    from sightline.store.migrate import migrate_to
    from sightline.store.portable import sqlite_file

    url = settings.catalog_url
    with closing(CatalogLock(sqlite_file(url))) as lock, closing(Database(make_engine(url))) as database:
        lock.share()
        before = migrate_to(database, revision)
    if before == revision:
        return f"The catalog has schema {revision} already."
    lost = before is not None and revision < "0002" <= before
    more = (
        " The addresses of sources are gone; the next run over each source writes them again." if lost else ""
    )
    if before is not None and revision < "0004" <= before:
        more += (
            " The keys are gone, and an earlier version knows none: set SIGHTLINE_API__KEY before it serves,"
            " or it answers everybody."
        )
    if before is not None and revision < "0005" <= before:
        more += " Captions stay; texts that models wrote, and features made for them, are gone."
    return f"The catalog has schema {revision} now; it had {before or 'none'}.{more}"


def ping(
    process: Annotated[Literal["api", "worker", "builder"], typer.Argument(help="Which kind of process.")],
    data: Data = None,
) -> None:
    """Exit with 0 when such a process is there and does its work, else with 5; for health checks.

    `worker` also fails when pictures have waited for long and nobody has any in hand.
    """
    from sightline.errors import UnavailableError
    from sightline.settings import load_settings

    settings = load_settings(data)
    trouble = _trouble_of_api(settings) if process == "api" else _trouble_of(process, settings)
    if trouble is not None:
        raise UnavailableError(trouble)


def _trouble_of(process: Literal["worker", "builder"], settings: Settings) -> str | None:
    from sightline.errors import NoCatalogError
    from sightline.indexer.queue.presence import builder_is_alive, unattended, worker_is_alive

    alive = {"worker": worker_is_alive, "builder": builder_is_alive}[process]
    with opened_by(settings) as services:
        try:
            if not alive(services.catalog):
                return f"No {process} is running."
        except NoCatalogError as error:
            return f"No {process} is running: {error.missing}."
        return unattended(services.catalog, settings.indexer.waiting_seconds) if process == "worker" else None


def _trouble_of_api(settings: Settings) -> str | None:
    """Asked as a load balancer does; what its indexing waits for is no trouble of the API."""
    from sightline.processes.up import readiness, url

    status = readiness(settings)
    if status is None:
        return f"No API answers at {url(settings)}."
    return None if status == 200 else f"The API at {url(settings)} is not ready: it answers {status}."


def listening(settings: Settings, host: str | None, port: int | None, insecure: bool = False) -> Settings:
    """Settings with the address that the command line names, and what it insists on."""
    api = settings.api
    api = replace(
        api,
        host=api.host if host is None else host,
        port=api.port if port is None else port,
        insecure=api.insecure or insecure,
    )
    return settings.model_copy(update={"api": api})
