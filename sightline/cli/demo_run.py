"""``sightline demo``: the shipped pictures through the same pipeline as everything else, searched and shown.

A worker and a builder run as processes of their own; SQL, segments and the FAISS index lie in the data
folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.blip.checkpoint import DEMO
from sightline.errors import NotFoundError, UnavailableError
from sightline.records import SearchHit, SearchRequest

if TYPE_CHECKING:
    from sightline.processes.supervisor import Supervisor
    from sightline.settings import Settings
    from sightline.wiring import Installation

COLLECTION = "demo"
FOLDER = Path(__file__).parents[1] / "data" / "demo-collection"
SHOWN = 5
CANDIDATES = 100
NOTHING_BELOW = 0.5
"""The best match probability under which the answer is that nothing matches."""
API_START_SECONDS = 60.0


@dataclass(frozen=True)
class Query:
    """A shipped query: its text, what it is there to show, and the image ids that are right."""

    text: str
    shows: str
    relevant: frozenset[str]


@dataclass(frozen=True)
class Outcome:
    """What the two orders put on top for one query."""

    query: Query
    by_itc: tuple[SearchHit, ...]
    after_itm: tuple[SearchHit, ...]

    def right(self, hits: Sequence[SearchHit], k: int) -> int:
        """How many of the first k are right."""
        return sum(hit.id in self.query.relevant for hit in hits[:k])

    @property
    def best_probability(self) -> float:
        """The highest match probability among the shown hits."""
        return max((hit.match_probability or 0.0 for hit in self.after_itm), default=0.0)


def run(settings: Settings, *, once: bool, as_json: bool = False) -> None:
    """Index, search, print; then serve the page until Ctrl-C unless ``once``. Leaves no process behind."""
    from sightline.cli.console import print_json
    from sightline.cli.demo_table import show
    from sightline.processes.supervisor import Supervisor
    from sightline.processes.up import with_port
    from sightline.wiring import open_installation

    queries = read_queries(FOLDER)
    settings = settings if once else with_port(settings)
    with Supervisor(settings, logs=settings.data_folder / "logs") as supervisor:
        with open_installation(settings) as services:
            counts = fill(services, supervisor)
            outcomes = [ask(services, query) for query in queries]
        if as_json:
            print_json({"indexed": counts, **summary(outcomes), "queries": [_plain(one) for one in outcomes]})
        else:
            show(outcomes, summary(outcomes))
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
    from sightline.cli.console import remarks
    from sightline.cli.jobs import EmbeddedWorker, follow

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
        SearchRequest(COLLECTION, query.text, limit=SHOWN, candidates=CANDIDATES)
    )
    return Outcome(query, by_itc.results, after_itm.results)


def summary(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Right answers by ITC and after ITM, over the queries that have any."""
    answerable = [one for one in outcomes if one.query.relevant]
    nothing = [one for one in outcomes if not one.query.relevant]
    return {
        "answerable": len(answerable),
        "findable_in_top": sum(min(SHOWN, len(one.query.relevant)) for one in answerable),
        "right_in_top_by_itc": sum(one.right(one.by_itc, SHOWN) for one in answerable),
        "right_in_top_after_itm": sum(one.right(one.after_itm, SHOWN) for one in answerable),
        "first_right_by_itc": sum(one.right(one.by_itc, 1) for one in answerable),
        "first_right_after_itm": sum(one.right(one.after_itm, 1) for one in answerable),
        "unanswerable": len(nothing),
        "said_that_nothing_matches": sum(one.best_probability < NOTHING_BELOW for one in nothing),
    }


def _plain(outcome: Outcome) -> dict[str, Any]:
    query = outcome.query
    itc = [{"id": hit.id, "itc": hit.itc, "right": hit.id in query.relevant} for hit in outcome.by_itc]
    itm = [
        {"id": hit.id, "match_probability": hit.match_probability, "itc_rank": hit.itc_rank,
         "right": hit.id in query.relevant}
        for hit in outcome.after_itm
    ]  # fmt: skip
    return {"text": query.text, "shows": query.shows, "relevant": len(query.relevant), "itc": itc, "itm": itm}


def _serve(settings: Settings, supervisor: Supervisor) -> None:
    """The page and the API, with the worker and builder that run already, until told to stop."""
    from sightline.cli.console import remarks
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
