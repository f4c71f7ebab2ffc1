"""Texts and features are written with the end of the task, by whoever holds its lease, on both databases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sightline.captioner.tasks import handlers
from sightline.indexer.heartbeat import Heartbeat
from sightline.settings import Settings
from sightline.wiring import open_installation
from tests.captioner.conftest import COLLECTION, QUARTERS, index, said, written
from tests.indexer.world import shared_decoder


@pytest.mark.parametrize("kind", ["caption", "capfilt"])
def test_a_lost_lease_writes_nothing(catalog_url: str, settings: Settings, folder: Path, kind: str) -> None:
    here = settings.model_copy(
        update={"database_url": catalog_url, "indexer": replace(settings.indexer, patch_codec="none")}
    )
    with open_installation(here, decoder=shared_decoder(), inline=True) as services:
        index(services, folder)
        if kind == "caption":
            job = services.captioning.begin(COLLECTION, model="toy", n=2)
        else:
            job = services.capfilt.begin(COLLECTION, captioner="toy", n=2)
        [task] = services.catalog.unsent_tasks(0, 10)
        handler = handlers(services.captioner_parts)[kind]
        files = set(here.segments_folder.iterdir())
        late = services.catalog.acquire(task, "late", 0.0, [kind])
        winner = services.catalog.acquire(task, "winner", 60.0, [kind])
        assert late is not None
        assert winner is not None
        beat = Heartbeat(lambda: True, lease=60.0, interval=30.0, what="the task")
        assert not handler.work(late, beat)
        assert not any(said(services, "captioner").values())
        assert set(here.segments_folder.iterdir()) == files, "its segment is gone"
        assert handler.work(winner, beat)
        assert handler.work(winner, beat), "a repeated end of the same lease says so"
        assert said(services, "captioner") == {name: written(q, 2) for name, q in QUARTERS.items()}
        assert services.catalog.job_progress(job.id).processed == 3
        assert list(services.catalog.check()) == []
