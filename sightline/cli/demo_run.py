"""``sightline demo``: the shipped pictures through the same pipeline as everything else, searched and shown.

A worker and a builder run as processes of their own; all that they make lies in the data folder.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.blip.checkpoint import DEMO
from sightline.cli.demo_outcomes import SHOWN, Outcome, Query, plain, summary
from sightline.errors import NotFoundError, UnavailableError
from sightline.records import SearchRequest

if TYPE_CHECKING:
    from sightline.processes.supervisor import Supervisor
    from sightline.settings import Settings
    from sightline.wiring import Installation

COLLECTION = "demo"
FOLDER = Path(__file__).parents[1] / "data" / "demo-collection"
CANDIDATES = 100
API_START_SECONDS = 60.0


def run(settings: Settings, *, once: bool, as_json: bool = False) -> None:
    """Index, search, print; then serve the page until Ctrl-C unless ``once``. Leaves no process behind."""
    from sightline.cli.demo_table import show
    from sightline.cli.demo_words import plain_words, say, show_words
    from sightline.cli.honest import say_note
    from sightline.cli.output import print_json
    from sightline.console import answers
    from sightline.processes.supervisor import Supervisor
    from sightline.processes.up import with_port
    from sightline.wiring import open_installation

    queries = read_queries(FOLDER)
    settings = settings if once else with_port(settings)
    with Supervisor(settings, logs=settings.data_folder / "logs") as supervisor:
        with open_installation(settings) as services:
            counts = fill(services, supervisor)
            outcomes = [ask(services, query) for query in queries]
            said = say(services, COLLECTION, FOLDER)
        if as_json:
            found = {"queries": [plain(one) for one in outcomes], **plain_words(said)}
            print_json({"indexed": counts, **summary(outcomes), **found})
        else:
            show(outcomes, summary(outcomes))
            show_words(said, answers())
        say_note(DEMO)
        if not once:
            _serve(settings, supervisor)


def read_queries(folder: Path) -> list[Query]:
    """The shipped queries.

    Raises:
        NotFoundError: this installation ships without the demo.
    """
    try:
        rows = json.loads((folder / "queries.json").read_text())
    except FileNotFoundError as error:
        raise NotFoundError(f"The demo collection is not in {folder}; reinstall Sightline.") from error
    return [Query(row["text"], row["shows"], frozenset(row["relevant"])) for row in rows]


def fill(services: Installation, supervisor: Supervisor) -> dict[str, int]:
    """Index the shipped pictures with the shipped model and fold them into the index."""
    from sightline.cli.jobs import EmbeddedWorker, follow
    from sightline.console import remarks

    console = remarks()
    services.collections.create(COLLECTION, DEMO)
    worker = EmbeddedWorker(supervisor)
    worker.attach(services)
    worker.ensure()
    began = time.monotonic()
    job = services.indexer.index([str(FOLDER / "manifest.jsonl")], COLLECTION)
    counts = follow(services, job.id, worker)
    services.builder.fold(COLLECTION)
    console.print(
        f"{counts.indexed} pictures indexed, {counts.unchanged} unchanged, {counts.failed} failed "
        f"in {time.monotonic() - began:.1f} s"
    )
    return {"indexed": counts.indexed, "unchanged": counts.unchanged, "failed": counts.failed}


def ask(services: Installation, query: Query) -> Outcome:
    """One query in both orders."""
    request = SearchRequest(COLLECTION, query.text, limit=SHOWN, candidates=CANDIDATES, rerank=False)
    by_itc = services.search.find(request)
    after_itm = services.search.find(
        SearchRequest(COLLECTION, query.text, limit=SHOWN, candidates=CANDIDATES, texts=False)
    )
    return Outcome(query, by_itc.results, after_itm.results)


def _serve(settings: Settings, supervisor: Supervisor) -> None:
    """The page and the API, with the worker and builder that run already, until told to stop."""
    from sightline.console import remarks
    from sightline.processes.up import answers, keep_alive, stop_signal, url

    with stop_signal() as stop:
        supervisor.start_missing("worker", "builder", "serve")
        until = time.monotonic() + API_START_SECONDS
        while not answers(settings) and not stop.wait(0.2):
            supervisor.check()
            if time.monotonic() > until:
                raise UnavailableError(f"The server does not answer; see {settings.data_folder / 'logs'}.")
        if not stop.is_set():
            remarks().print(f"\nThe page: [bold]{url(settings)}[/]  (Ctrl-C stops)")
        keep_alive(supervisor, stop)
