"""The stage of a life in which a saved search judges what is there and what comes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sightline.errors import ConflictError
from sightline.records import SearchRequest
from sightline.upkeep.webhooks import Webhooks
from sightline.wiring import Installation
from tests.crash.life import Life
from tests.indexer.world import COLLECTION

LEAST = 0.05


def watch(life: Life) -> None:
    """A search is saved over what is there; pictures are judged in several batches, more come meanwhile."""
    with life.open() as installation:
        _save(installation)
        installation.saved_judging.step(installation.catalog.collection(COLLECTION))
        life.upload(installation, s1=501, s2=502)
        life.work_off(installation)
        installation.saved_watch.step()
        _tell(life, installation)


def watch_on(life: Life) -> None:
    """What its owner and the next builder do after a restart."""
    with life.open() as installation:
        _save(installation)
        life.work_off(installation)
        installation.saved_watch.step()
        _tell(life, installation)


def not_watched(life: Life) -> list[str]:
    """Whether who fits is who a search finds anew, each once, and each was told of."""
    with life.open() as installation:
        _save(installation)
        installation.saved_watch.step()
        _tell(life, installation)
        saved = installation.saved_searches.one(COLLECTION, "all")
        members = installation.saved_searches.members(COLLECTION, "all", limit=1000).items
        request = SearchRequest(COLLECTION, "red", limit=1000, candidates=1000, min_probability=LEAST)
        found = {hit.key: hit.match_probability for hit in installation.search.find(request).results}
    told = [json.loads(line)["member"] for line in _told(life).read_text().splitlines()]
    problems = []
    if {one.key: one.probability for one in members} != found or len(members) != len(found):
        problems.append(f"{len(members)} are members, and a search finds {len(found)}")
    if not {one.id for one in members} <= set(told):
        problems.append("somebody joined of whom nobody was told")
    if (saved.pending, saved.unjudged) != (0, 0):
        problems.append(f"{saved.pending} wait to be judged")
    return problems if found else [*problems, "nobody fits, so that nothing is shown"]


def _save(installation: Installation) -> None:
    with suppress(ConflictError):  # before it died
        installation.saved_searches.save(COLLECTION, "all", {"text": "red"}, LEAST, "https://hook.test/")


class _Receiver:
    """Writes down what it is told."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        with self._path.open("ab") as file:
            file.write(body + b"\n")


def _told(life: Life) -> Path:
    return life.folder / "told.jsonl"


def _tell(life: Life, installation: Installation) -> None:
    calls = Webhooks(installation.catalog, _Receiver(_told(life)), installation.settings.saved)
    while calls.step():
        pass
