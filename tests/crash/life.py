"""An installation in a folder, what it has acknowledged, and whether all of that is there.

It calls the product's own parts, in this process; ``recover`` is what a restart does.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sightline.indexer.settings import BuilderSettings, IndexerSettings
from sightline.indexer.uploads import Upload
from sightline.searching.settings import SavedSettings
from sightline.serving.settings import ModelSettings
from sightline.settings import Settings
from sightline.types import PatchLevel
from sightline.wiring import Installation, open_installation
from tests.crash.ledger import Content, Ledger
from tests.indexer.world import COLLECTION, empty_catalog, picture, shared_decoder

INDEXER = IndexerSettings(
    batch_size=2, lease_seconds=20.0, retry_pause_seconds=0.0, poll_seconds=0.02, sample_texts_from=1
)
BUILDER = BuilderSettings(
    lease_seconds=20.0,
    fold_min_images=1,
    fold_fraction=0.0,
    fold_dead_fraction=0.1,
    merge_at_least=2,
    rewrite_dead_fraction=0.1,
    rest_seconds=0.0,
    clean_seconds=0.0,
    resend_seconds=0.0,
    stale_registration_seconds=0.0,
)
AT_ONCE = replace(BUILDER, retired_seconds=0.0, released_seconds=0.0, orphan_seconds=0.0, aside_seconds=0.0)
"""A builder that cleans without any time of grace: nobody else works here."""
BOUND_SECONDS = 30.0
LATER = 60.0
"""Seconds by which the clock of a restart is ahead: what a dead process had leased is free at once."""


class Life:
    """An installation in ``folder`` and the ledger beside it."""

    def __init__(self, folder: Path, ahead: float = 0.0) -> None:
        """``ahead``: seconds by which the clock of its database is."""
        self.folder = folder
        self.ahead = ahead
        self.ledger = Ledger(folder / "ledger.jsonl")

    def settings(self, codec: PatchLevel = "fp16", builder: BuilderSettings = BUILDER) -> Settings:
        indexer = replace(INDEXER, patch_codec=codec, codec_sample=2, codec_rank=2)
        model = ModelSettings(name="toy")
        saved = SavedSettings(batch=4, webhooks=True, webhook_pause_seconds=0.0)
        data = self.folder / "data"
        return Settings(data=data, model=model, indexer=indexer, builder=builder, saved=saved)

    @contextmanager
    def open(self, codec: PatchLevel = "fp16", builder: BuilderSettings = BUILDER) -> Iterator[Installation]:
        settings = self.settings(codec, builder)
        with open_installation(settings, decoder=shared_decoder(), now=self.now) as installation:
            yield installation

    def now(self) -> float:
        return time.time() + self.ahead

    def begin(self) -> None:
        """An empty collection."""
        (self.folder / "data").mkdir(parents=True)
        (self.folder / "data" / "catalog.sqlite").write_bytes(empty_catalog())
        with self.open() as installation:
            installation.collections.create(COLLECTION, None, None)

    # --- acknowledged changes -------------------------------------------------------------------------------

    def upload(self, installation: Installation, **numbers: int) -> None:
        """Pictures by their ids, in one request."""
        with self.asked(self.contents(**numbers)):
            uploads = [Upload(picture(number), name) for name, number in numbers.items()]
            _, lines = installation.indexer.add(COLLECTION, uploads)
            assert {line.status for line in lines} <= {"pending", "unchanged"}, lines

    def delete(self, installation: Installation, name: str) -> None:
        with self.asked({name: None}):
            collection = installation.catalog.collection(COLLECTION)
            assert installation.catalog.delete_images(collection.id, ids=[name]) == 1

    @contextmanager
    def asked(self, changes: Mapping[str, Content]) -> Iterator[None]:
        """Inside, these are in doubt; afterwards they were acknowledged."""
        self.ledger.begin(changes)
        yield
        self.ledger.done(changes)

    @staticmethod
    def contents(**numbers: int) -> dict[str, Content]:
        """Image id → SHA-256, from the numbers of pictures."""
        return {name: hashlib.sha256(picture(number)).hexdigest() for name, number in numbers.items()}

    # --- what is there --------------------------------------------------------------------------------------

    def recover(self) -> None:
        """What the next worker and the next builder do, until nothing is left to do."""
        with self.open() as installation:
            self.work_off(installation)
            list(installation.repair.run())
            self.tend(installation)

    def work_off(self, installation: Installation) -> None:
        """Embed until no picture waits any more."""
        deadline = time.monotonic() + BOUND_SECONDS
        while True:
            installation.indexer.run_pending()
            jobs = installation.catalog.jobs()
            waiting = next((job for job in jobs if _pending(installation, job.id)), None)
            if waiting is None:
                return
            assert time.monotonic() < deadline, f"pictures wait for ever: {waiting}"
            time.sleep(0.05)

    def tend(self, installation: Installation, passes: int = 12) -> None:
        """Passes of the builder, until one has nothing more to do."""
        deadline = time.monotonic() + BOUND_SECONDS
        while passes:
            report = installation.builder.step()
            assert time.monotonic() < deadline, "another builder holds the lease for ever"
            if report is None:  # the killed one's lease
                time.sleep(0.05)
                continue
            if not report.busy:
                return
            passes -= 1

    def problems(self) -> list[str]:
        """What is wrong with what is stored, with the search and with the ledger; empty when all is well."""
        with self.open() as installation:
            listed = [(one.image_id, one.sha256) for one in _live(installation)]
            keys = sorted(one.key for one in _live(installation))
            found = list(installation.catalog.check())
            found += installation.consistency.disagreements(installation.catalog.collection(COLLECTION))
            hits = installation.retriever.retrieve(
                COLLECTION, np.eye(8, dtype=np.float32)[0], 1000
            ).candidates
            if sorted(hit.key for hit in hits) != keys:
                found.append(f"a search finds {len(hits)} images, and {len(keys)} are live")
            found += [
                f"{sha} is no original any more" for _, sha in listed if not _is_kept(installation, sha)
            ]
        verdict = self.ledger.verdict(listed)
        return found if verdict.sound else [*found, f"{verdict}: {verdict!r}"]


def _live(installation: Installation) -> list[Any]:
    return list(installation.catalog.images(COLLECTION, None, 1000).items)


def _pending(installation: Installation, job_id: str) -> bool:
    return installation.catalog.job_progress(job_id).pending > 0


def _is_kept(installation: Installation, sha256: str) -> bool:
    return hashlib.sha256(installation.blobs.get(sha256)).hexdigest() == sha256
