"""The life of a small collection in stages: in each of them a process can be killed, or its disk can fail.

Every stage works on a `Life` and writes what was acknowledged into its ledger.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sightline.store.index import BuildRequest
from sightline.store.records import IVF_RABITQ
from sightline.store.sample_texts import CAPTIONS, SampleTexts
from sightline.store.segments import write_segment
from tests.crash import later_stages as later
from tests.crash import saved_stages as saved
from tests.crash.life import AT_ONCE, Life
from tests.indexer.world import COLLECTION


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


def approximate(life: Life) -> None:
    """An approximate index of all that is embedded, which no row ever names."""
    with life.open() as installation:
        snapshot = installation.catalog.snapshot(COLLECTION)
        dim = snapshot.collection.joint_dim
        vectors = np.eye(dim, dtype=np.float32)[np.arange(32) % dim]
        texts = SampleTexts("axes", vectors, np.full(32, CAPTIONS, np.int8))
        backend = installation.indexes.of(IVF_RABITQ)
        request = BuildRequest(snapshot.segments, snapshot.gone, texts=texts)
        backend.remove(backend.build(installation.segments, request).file)


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
    "approximate": approximate,
    "change": change,
    "compact": compact,
    "fit": fit,
    "recode": recode,
    "repair": repair,
    "clean": clean,
    "watch": saved.watch,
    "trash": later.trash,
    "purge": later.purge,
    "index": later.index,
    "move": later.move,
    "split": later.split,
    "resume": later.resume,
    "caption": later.caption,
    "filter": later.filtered,
    "backup": later.backup,
    "restore": later.restore,
}
"""In their order; each begins where the one before it ended."""
BEFORE: dict[str, Callable[[Life], None]] = {
    "repair": damage,
    "clean": stray,
    "purge": later.victim,
    "index": later.folder,
    "move": later.renamed,
    "restore": later.lose_all,
}
"""What happens to the world between two stages."""
AGAIN: dict[str, Callable[[Life], None]] = {
    "caption": later.listed_again,
    "filter": later.listed_again,
    "index": later.index,
    "move": later.move,
    "resume": later.take_up,
    "watch": saved.watch_on,
    "backup": later.backup,
    "restore": later.restore,
}
"""What the owner, or the next server, does after a restart; all else the worker and the builder do."""
AFTER: dict[str, Callable[[Life], list[str]]] = {
    "watch": saved.not_watched,
    "purge": later.left,
    "caption": later.not_captioned,
    "filter": later.not_filtered,
    "backup": later.not_restorable,
}
"""What else must be so in the end; problems."""


def worlds(folder: Path, lived: Callable[[Life, str], None] | None = None) -> dict[str, Path]:
    """Stage → a folder as it is before that stage; made by living once without any fault.

    ``lived`` lives a stage instead, and may look on.
    """
    life = Life(folder / "now")
    life.begin()
    before: dict[str, Path] = {}
    for stage, run in STAGES.items():
        BEFORE.get(stage, lambda life: None)(life)
        before[stage] = folder / stage
        shutil.copytree(life.folder, before[stage])
        run(life) if lived is None else lived(life, stage)
    assert life.problems() == []
    return before


def problems_after(life: Life, stage: str, *, ended: bool = False) -> list[str]:
    """Start again after a stage, which was cut short unless it ``ended`` as it should; what is wrong then."""
    if not ended:
        AGAIN.get(stage, lambda life: None)(life)
    life.recover()
    return life.problems() + AFTER.get(stage, lambda life: [])(life)


def born(worlds: dict[str, Path], stage: str, folder: Path) -> Life:
    """Another life, as it is before a stage."""
    shutil.copytree(worlds[stage], folder)
    return Life(folder)
