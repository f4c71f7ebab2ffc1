"""A process is killed at every fault point: after a restart all that was acknowledged is there, once."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline import faultpoint
from tests.crash import nursery
from tests.crash.life import LATER, Life
from tests.crash.stages import STAGES, born, problems_after, worlds

ROOT = Path(__file__).parents[2]
STAGE_OF = {
    "original.kept": "accept", "register.registered": "accept", "queue.sent": "accept",
    "queue.noted": "accept", "blob.aside": "accept", "blob.renamed": "accept",
    "catalog.committing": "change", "catalog.committed": "accept",
    "embed.leased": "embed", "embed.read": "embed", "embed.decoded": "embed", "embed.encoded": "embed",
    "thumbnail.kept": "embed", "segment.written": "embed", "embed.published": "embed",
    "file.aside": "embed", "file.renamed": "fold", "sweep.expired": "fold",
    "fold.built": "compact", "fold.published": "fold",
    "ivf.trained": "approximate", "ivf.part": "approximate", "ivf.manifest": "approximate",
    "compact.published": "compact", "recode.published": "recode", "codec.kept": "fit", "texts.drawn": "embed",
    "repair.published": "repair",
    "clean.noted": "clean", "clean.aside": "clean", "clean.deleted": "clean", "clean.unlinked": "clean",
    "clean.forgotten": "clean",
    "release.taken": "clean", "release.asked": "clean", "release.removed": "clean",
    "purge.begun": "purge", "purge.rewritten": "purge", "purge.files": "purge", "purge.blobs": "purge",
    "purge.scrubbed": "purge",
    "register.listed": "index", "register.moved": "move", "register.pruned": "move",
    "task.split": "split", "listing.resumed": "resume",
    "captions.begun": "caption", "captions.listed": "filter", "captions.written": "filter",
    "features.written": "caption", "captions.finished": "caption",
    "saved.judged": "watch", "saved.kept": "watch", "webhook.sent": "watch",
    "backup.exported": "backup", "backup.copied": "backup", "backup.pointed": "backup",
    "restore.begun": "restore", "restore.filed": "restore", "restore.placed": "restore",
}  # fmt: skip
"""Fault point → the stage in which a process comes by."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Stage → a folder as it is before that stage."""
    nursery.start()
    folder = tmp_path_factory.mktemp("worlds")
    yield worlds(folder)
    shutil.rmtree(folder)


def killed_at(point: str, life: Life, stage: str) -> int:
    return nursery.run_stage(stage, life.folder, {faultpoint.VARIABLE: point})


def assert_nothing_lost(life: Life, stage: str) -> None:
    assert problems_after(Life(life.folder, LATER), stage) == []


@pytest.mark.parametrize("point", sorted(faultpoint.POINTS))
def test_killed_there_a_process_loses_doubles_and_invents_nothing(
    point: str, before: dict[str, Path], tmp_path: Path
) -> None:
    stage = STAGE_OF[point]
    life = born(before, stage, tmp_path / "world")
    assert killed_at(point, life, stage) == -signal.SIGKILL, "nobody came by"
    assert_nothing_lost(life, stage)


@pytest.mark.long
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "point",
    ["catalog.committing", "catalog.committed", "file.aside", "file.renamed", "blob.aside", "blob.renamed"],
)
def test_killed_at_every_single_commit_and_rename(
    point: str, stage: str, before: dict[str, Path], tmp_path: Path
) -> None:
    for number in range(1, 200):
        life = born(before, stage, tmp_path / str(number))
        if killed_at(f"{point}:{number}", life, stage) == 0:
            return
        assert_nothing_lost(life, stage)
    raise AssertionError("the stage never came to its end")


def calls() -> Iterator[tuple[str, str]]:
    """(name, where) of every call in our own source."""
    for folder in ("sightline", "indexer", "retriever", "reranker", "captioner", "api"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "faultpoint":
                    yield ast.literal_eval(node.args[0]), f"{path}:{node.lineno}"


def test_the_registry_names_the_calls_that_there_are() -> None:
    assert {name for name, _ in calls()} == faultpoint.POINTS


def test_a_name_that_is_no_fault_point_is_refused_where_it_would_do_nothing() -> None:
    code = "from sightline.faultpoint import faultpoint; faultpoint('fold.built')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {faultpoint.VARIABLE: "fold.bulit"},
        capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 1
    assert "fold.bulit" in done.stderr
