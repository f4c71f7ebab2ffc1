"""The cache benchmark on a random model of a few pictures measures every level and plots it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cache import measure
from sightline.blip import load
from sightline.blip.random_weights import write_random_checkpoint


@pytest.mark.long
def test_every_level_is_measured_and_the_figures_are_those_of_the_default_rank(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    model = load(str(write_random_checkpoint(tmp_path / "model")), device="cpu")
    section = measure(model, 2, 3, tmp_path / "curve.png")
    names = [row.what.split(":")[0] for row in section.rows]
    assert names[0] == "int8"
    assert len(set(names)) == len(names)
    wanted = {"latent, rank 6, 136 bytes", "latent, grid, rank 24, 136 bytes", "plain PCA, rank 6"}
    assert wanted <= set(names)
    assert section.figures["cache_bytes_per_image"] == 257 * 242
    assert section.figures["cache_ratio_demo"] >= 11.0
    assert -1.0 <= section.figures["cache_tau"] < 1.0
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "16 sentences" in section.notes[0]
