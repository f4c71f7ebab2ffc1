"""Lets one write after another of a small life fail, and looks at what is left. Runs below the shim.

``python -m tests.crash.failing_disk FOLDER STRIDE FAULT…``, a fault being ``EIO`` (once) or ``ENOSPC+`` (that
write and all after it): one JSON line for each write that was made to fail, the faults taking turns, with
what was raised, what was logged, and what was wrong afterwards.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import sys
from itertools import cycle
from pathlib import Path

from sightline.errors import SightlineError
from tests.crash.life import LATER, Life
from tests.crash.shim import Shim
from tests.crash.stages import STAGES, born, problems_after, worlds


class Heard(logging.Handler):
    """What our own code warned about."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def main(folder: Path, stride: int, faults: list[str]) -> None:
    shim = Shim(Path(os.environ["SIGHTLINE_SHIM_STATE"]))
    heard = Heard()
    logging.getLogger().addHandler(heard)
    counted: dict[str, int] = {}

    def count(life: Life, stage: str) -> None:
        shim.watch(life.folder / "data")
        STAGES[stage](life)
        counted[stage] = shim.count

    before = worlds(folder / "worlds", count)
    turns = cycle(faults)
    for number, (stage, writes) in enumerate(counted.items()):
        for nth in range(1 + number % stride, writes + 1, stride):  # not always the same ones
            heard.said.clear()
            life, fault = born(before, stage, folder / "life"), next(turns)
            told = {"stage": stage, "nth": nth, "of": writes, "fault": fault}
            print(json.dumps(told | once(life, stage, shim, fault, nth, heard)), flush=True)
            shutil.rmtree(life.folder)


def once(life: Life, stage: str, shim: Shim, fault: str, nth: int, heard: Heard) -> dict[str, object]:
    """Live one stage with that fault, lift it, and go on in this same process."""
    shim.watch(life.folder / "data")
    shim.fail(getattr(errno, fault.rstrip("+")), nth, sticky=fault.endswith("+"))
    raised = ""
    try:
        STAGES[stage](life)
    except (SightlineError, OSError, AssertionError) as said:
        raised = f"{type(said).__name__}: {said}"
    shim.lift()
    failed, logged = shim.failed, list(heard.said)
    silent = not raised and not logged and stage != "accept"  # after which nothing is searchable yet
    undone = life.problems() if silent else []
    problems = problems_after(Life(life.folder, LATER), stage, ended=not raised)
    found = {"undone": undone, "problems": problems}
    return {"failed": failed, "raised": raised, "logged": logged[:3], **found}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
