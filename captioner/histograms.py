"""A histogram of match probabilities as a PNG and as lines of text."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

from sightline.errors import UnavailableError

if TYPE_CHECKING:
    from sightline.captioner.report import CapFiltReport, Histogram

KEPT, DROPPED, LINE = "#3ca951", "#ff725c", "#222222"
TEXT_BARS: Final = 10
TEXT_WIDTH: Final = 40


def histogram_png(report: CapFiltReport) -> bytes:
    """The picture: kept and dropped texts by match probability, and the threshold.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnavailableError(
            "A histogram is drawn by matplotlib, which is not installed; install sightline[train]."
        ) from error
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    bars = len(report.histogram.kept)
    lefts = [bar / bars for bar in range(bars)]
    kept, dropped, width = report.histogram.kept, report.histogram.dropped, 1 / bars
    axes.bar(lefts, kept, width, color=KEPT, label="kept", align="edge")
    axes.bar(lefts, dropped, width, kept, color=DROPPED, label="dropped", align="edge")
    if report.threshold is not None:
        axes.axvline(report.threshold, color=LINE, linewidth=1, label=f"threshold {report.threshold:.3g}")
    axes.set(xlabel="match probability", ylabel="texts", xlim=(0, 1), title=report.collection)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.25, axis="y")
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def histogram_lines(histogram: Histogram, bars: int = TEXT_BARS, width: int = TEXT_WIDTH) -> list[str]:
    """A line for each of ``bars`` equal parts of 0 to 1: its lower end, a bar, kept and dropped texts."""
    size = len(histogram.kept) // bars
    parts = [slice(bar * size, (bar + 1) * size) for bar in range(bars)]
    kept = [sum(histogram.kept[part]) for part in parts]
    dropped = [sum(histogram.dropped[part]) for part in parts]
    most = max(*(k + d for k, d in zip(kept, dropped, strict=True)), 1)
    return [
        f"{bar / bars:.1f} {'█' * round(width * kept[bar] / most)}{'░' * round(width * dropped[bar] / most)} "
        f"{kept[bar]:,} kept, {dropped[bar]:,} dropped"
        for bar in range(bars)
    ]
