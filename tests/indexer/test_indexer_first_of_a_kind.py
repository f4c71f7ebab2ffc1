"""What the first build of a kind of index leaves when it dies: no file of that kind has a name in SQL yet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.indexer.growing import Growing
from tests.indexer.test_indexer_growth import ids
from tests.retriever.living_collection import living_collection

DAYS = 8
"""A stray is set aside after one, and deleted after another."""


def test_what_it_left_goes_although_no_index_of_its_kind_ever_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with living_collection(tmp_path, 1) as living:
        growing = Growing(living)
        living.put(ids(50))
        growing.settle()
        living.put(ids(30, 100))
        killed = subprocess.run(
            [sys.executable, "-m", "tests.indexer.growing", str(living.folder)],
            env=os.environ | {"SIGHTLINE_FAULTPOINT": "fold.built", "OMP_NUM_THREADS": "1"},
            timeout=120,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL
        left = {name for name in growing.stored if ".ivf-sq8." in name}
        assert left
        living.catalog.set_index_kind(living.id, "exact")  # somebody has had enough of it
        for _ in range(DAYS):
            growing.age(86_400.0)
        assert growing.serving.kind == "flat"
        assert growing.stored == living.catalog.generation_files()
        assert not any("may not be theirs" in message for message in caplog.messages)
        living.check(50)
