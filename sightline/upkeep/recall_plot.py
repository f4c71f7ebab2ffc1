"""A recall report as a PNG: recall against latency, a point for each number of probes."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from sightline.errors import UnavailableError

if TYPE_CHECKING:
    from sightline.upkeep.recall_report import RecallReport


def recall_png(report: RecallReport) -> bytes:
    """The picture.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnavailableError(
            "A report is drawn by matplotlib, which is not installed; install sightline[train]."
        ) from error
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    chosen, rows = report.rows[0], report.rows[1:]
    times = [row.p50_ms for row in rows]
    for values, name in (([row.recall100 for row in rows], "@100"), ([row.recall10 for row in rows], "@10")):
        axes.plot(times, values, marker="o", markersize=4, label=f"recall{name}")
    for row in rows:
        axes.annotate(
            str(row.probes), (row.p50_ms, row.recall100), xytext=(3, -11), textcoords="offset points",
            fontsize=7,
        )  # fmt: skip
    axes.plot([chosen.p50_ms], [chosen.recall100], "*", markersize=13, label="as searches use it (@100)")
    axes.axvline(report.scan_ms, linestyle="--", linewidth=1, color="grey", label="exact scan")
    title = f"{report.collection}: {report.kind}, {report.images:,} images, {report.queries} {report.source}"
    axes.set(
        xscale="log", xlabel="milliseconds a query (median); numbers: probes",
        ylabel="part of the best found", title=title,
    )  # fmt: skip
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(alpha=0.25)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
