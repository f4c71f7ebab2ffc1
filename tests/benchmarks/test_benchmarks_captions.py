"""The benchmark of language models compares like with like."""

from __future__ import annotations

import pytest

from benchmarks.captions import Sides, gflop, hindrance, measure
from benchmarks.captions_geometry import GEOMETRIES, small, stock_model
from benchmarks.measuring import ENDS


@pytest.mark.parametrize("name", GEOMETRIES)
def test_both_sides_write_the_same_number_of_tokens_and_ours_computes_less(name: str) -> None:
    geometry = small(GEOMETRIES[name])
    stock = stock_model(geometry)
    whole, kept = gflop(geometry, stock)
    assert 0 < kept < whole
    sides = Sides(geometry, stock, images=2)
    ours, theirs = sides.ours(), sides.theirs().tolist()
    assert [len(row) for row in ours] == [geometry.new] * 2
    assert all(len(row) >= geometry.new for row in theirs)


def test_every_figure_is_measured() -> None:
    section = measure(small(GEOMETRIES["opt-2.7b"]), images=1, rounds=1)
    assert len(section.figures) == 4
    assert all(value > 0 for value in section.figures.values())


def test_what_does_not_fit_into_the_time_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDS, "0")
    assert hindrance(full=True)
    assert hindrance(full=False) == ""
