"""Segments, generations and codecs rot under searches, opened before or after: nothing changes silently.

In a process of its own, because a mapped file that somebody cuts off kills its reader.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def rot(folder: Path, count: int, seed: int, seconds: float) -> dict[str, dict[str, Any]]:
    command = [sys.executable, "-m", "tests.rot", str(folder), str(count), str(seed)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert ended.returncode == 0, f"status {ended.returncode}: {ended.stderr[-4000:]}"
    told: dict[str, dict[str, Any]] = json.loads(ended.stdout.splitlines()[-1])
    return told


def check(told: dict[str, dict[str, Any]], count: int) -> None:
    assert set(told) == {"fp16", "int8", "latent"}
    for codec, figures in told.items():
        assert figures["mutations"] == count
        for wrong in ("silent", "crashed", "unhealed"):
            assert figures[wrong] == [], f"{codec}: {wrong}"
        assert figures["refused"] == 0, "what is left can be answered from"
        # Where mutations fall differs with the ids of a run, and few answers miss bytes of texts.
        assert figures["degraded"] >= count // 3, "of four answers for each mutation"


@pytest.mark.timeout(180)
def test_no_rotten_byte_is_answered_from_in_silence(tmp_path: Path) -> None:
    check(rot(tmp_path, 10, 1, 170), 10)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_thousand_mutations_change_no_answer_in_silence(tmp_path: Path) -> None:
    told = rot(tmp_path, 340, 2, 3500)
    names = ("mutations", "right", "degraded", "refused")
    print({codec: {name: figures[name] for name in names} for codec, figures in told.items()})
    check(told, 340)
