"""Real processes that cost little: forked by a server that has imported everything and has one thread."""

from __future__ import annotations

import os
import traceback
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from multiprocessing.forkserver import ensure_running, set_forkserver_preload
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = ["tests.crash.stages", "torch", "faiss", "sightline.indexer.indexer", "sightline.indexer.queue.app",
           "sightline.indexer.building.builder", "sightline.upkeep.repair", "sightline.blip.toy"]  # fmt: skip
SECONDS = 60.0


def start() -> None:
    """The server, with one thread in it: a fork beside threads may hang."""
    kept = {name: os.environ.get(name) for name in ("PYTHONPATH", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    os.environ.update(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    try:
        set_forkserver_preload(MODULES)
        ensure_running()
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def run_stage(stage: str, folder: Path, environment: dict[str, str]) -> int:
    """Run one stage in a process of its own; its exit status, −9 when it was killed."""
    process = get_context("forkserver").Process(target=_child, args=(stage, folder, environment))
    process.start()
    try:
        process.join(timeout=SECONDS)
        assert process.exitcode is not None, f"the stage {stage} never ended"
        return process.exitcode
    finally:
        _end(process)


def _end(process: ForkServerProcess) -> None:
    if process.is_alive():
        process.kill()
        process.join(timeout=SECONDS)


def _child(stage: str, folder: Path, environment: dict[str, str]) -> None:
    from tests.crash.life import Life
    from tests.crash.stages import STAGES

    os.environ.update(environment)
    try:
        STAGES[stage](Life(folder))
    except BaseException:
        (folder / "traceback.txt").write_text(traceback.format_exc())
        raise
