"""The life of a small collection in stages: in each of them a process can be killed, or its disk can fail.

Every stage works on an installation in a folder and writes what was acknowledged into its ledger. It calls
the product's own parts, in this process; ``recover`` is what a restart does.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sightline.indexer.settings import BuilderSettings, IndexerSettings
from sightline.indexer.uploads import Upload
from sightline.serving.settings import ModelSettings
from sightline.settings import Settings
from sightline.store.segments import write_segment
from sightline.types import PatchLevel
from sightline.wiring import Installation, open_installation
from tests.crash.ledger import Ledger
from tests.indexer.world import COLLECTION, empty_catalog, picture, shared_decoder

INDEXER = IndexerSettings(batch_size=2, lease_seconds=1.5, retry_pause_seconds=0.0, poll_seconds=0.02)
BUILDER = BuilderSettings(
    lease_seconds=1.5,
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


class Life:
    """An installation in ``folder`` and the ledger beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(folder / "ledger.jsonl")

    def settings(self, codec: PatchLevel = "fp16", builder: BuilderSettings = BUILDER) -> Settings:
        indexer = replace(INDEXER, patch_codec=codec, codec_sample=2, codec_rank=2)
        model = ModelSettings(name="toy")
        return Settings(data=self.folder / "data", model=model, indexer=indexer, builder=builder)

    @contextmanager
    def open(self, codec: PatchLevel = "fp16", builder: BuilderSettings = BUILDER) -> Iterator[Installation]:
        settings = self.settings(codec, builder)
        with open_installation(settings, decoder=shared_decoder()) as installation:
            yield installation

    def begin(self) -> None:
        """An empty collection."""
        (self.folder / "data").mkdir(parents=True)
        (self.folder / "data" / "catalog.sqlite").write_bytes(empty_catalog())
        with self.open() as installation:
            installation.collections.create(COLLECTION, None, None)

    # --- acknowledged changes -------------------------------------------------------------------------------

    def upload(self, installation: Installation, **numbers: int) -> None:
        """Pictures by their ids, in one request."""
        data = {name: picture(number) for name, number in numbers.items()}
        changes = {name: hashlib.sha256(one).hexdigest() for name, one in data.items()}
        self.ledger.begin(changes)
        _, lines = installation.indexer.add(COLLECTION, [Upload(one, name) for name, one in data.items()])
        assert {line.status for line in lines} <= {"pending", "unchanged"}, lines
        self.ledger.done(changes)

    def delete(self, installation: Installation, name: str) -> None:
        self.ledger.begin({name: None})
        collection = installation.catalog.collection(COLLECTION)
        assert installation.catalog.delete_images(collection.id, ids=[name]) == 1
        self.ledger.done({name: None})

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
            waiting = [job for job in installation.catalog.jobs() if _pending(installation, job.id)]
            if not waiting:
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


# --- stages -------------------------------------------------------------------------------------------


def accept(life: Life) -> None:
    with life.open() as installation:
        life.upload(installation, a=1, b=2, c=3)
        life.upload(installation, d=4, e=5, twin=1)


def embed(life: Life) -> None:
    with life.open() as installation:
        life.work_off(installation)


def fold(life: Life) -> None:
    with life.open() as installation:
        installation.builder.step()


def change(life: Life) -> None:
    """One is deleted, two are replaced, one comes; with the worker's step, which buries the old ones."""
    with life.open() as installation:
        life.delete(installation, "a")
        life.upload(installation, b=12, c=13, f=6)
        life.work_off(installation)


def compact(life: Life) -> None:
    """Dead rows are dropped, small segments merged, the generation follows."""
    with life.open() as installation:
        life.tend(installation)


def recode(life: Life) -> None:
    with life.open("int8") as installation:
        life.tend(installation)


def clean(life: Life) -> None:
    with life.open(builder=AT_ONCE) as installation:
        for _ in range(3):  # what is set aside in one pass goes in a later one
            life.tend(installation)


def repair(life: Life) -> None:
    with life.open() as installation:
        assert [one.problem for one in installation.repair.run()] == [None]


def fit(life: Life) -> None:
    """New pictures once there is a sample: a codec is fitted and kept, then a segment names it."""
    with life.open("latent") as installation:
        life.upload(installation, g=7, h=8)
        life.work_off(installation)


def damage(life: Life) -> None:
    """Before ``repair``: the largest segment is gone."""
    segments = life.settings().segments_folder.glob("*.segment.safetensors")
    with life.open() as installation:
        named = {segment.file for segment in installation.catalog.snapshot(COLLECTION).segments}
    max((path for path in segments if path.name in named), key=lambda path: path.stat().st_size).unlink()


def stray(life: Life) -> None:
    """Before ``clean``: a late worker has left a segment that no row names."""
    tokens = np.eye(8, dtype=np.float16)[None, :4]
    write_segment(life.settings().segments_folder, np.array([10**6]), tokens, None, "none")


STAGES: dict[str, Callable[[Life], None]] = {
    "accept": accept,
    "embed": embed,
    "fold": fold,
    "change": change,
    "compact": compact,
    "fit": fit,
    "recode": recode,
    "repair": repair,
    "clean": clean,
}
"""In their order; each begins where the one before it ended."""
BEFORE: dict[str, Callable[[Life], None]] = {"repair": damage, "clean": stray}
"""What happens to the world between two stages."""


def worlds(folder: Path) -> dict[str, Path]:
    """Stage → a folder as it is before that stage; made by living once without any fault."""
    life = Life(folder / "now")
    life.begin()
    before: dict[str, Path] = {}
    for stage, run in STAGES.items():
        BEFORE.get(stage, lambda life: None)(life)
        before[stage] = folder / stage
        shutil.copytree(life.folder, before[stage])
        run(life)
    assert life.problems() == []
    return before


def born(worlds: dict[str, Path], stage: str, folder: Path) -> Life:
    """Another life, as it is before a stage."""
    shutil.copytree(worlds[stage], folder)
    return Life(folder)
