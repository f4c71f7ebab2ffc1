"""Seconds of reranking against candidates, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measuring import Timing


def draw(
    timed: Mapping[int, Mapping[str, Timing]], names: Sequence[str], stock_each: float | None, path: Path
) -> Path:
    """Write the plot. ``timed``: by candidates, then by program; ``stock_each``: seconds of one picture in
    the stock forward."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="candidates", ylabel="seconds", xscale="log", yscale="log")
    for name in names:
        axes.plot(list(timed), [one[name].median for one in timed.values()], marker="o", label=name)
    if stock_each is not None:
        scaled = [stock_each * count for count in timed]
        axes.plot(list(timed), scaled, linestyle="--", label="stock forward, fp32 (scaled)")
    axes.legend()
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path
