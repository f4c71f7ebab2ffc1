"""A recall report as a PNG: what is found, and how fast, by the number of probes."""

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
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    found, took = figure.subplots(1, 2)
    chosen, rows = report.rows[0], report.rows[1:]
    probes = [row.probes for row in rows]
    for axes, label, lines, used in (
        (found, "part of the best found", (("@100", "recall100"), ("@10", "recall10")), chosen.recall100),
        (took, "milliseconds a query", (("median", "p50_ms"), ("95th percentile", "p95_ms")), chosen.p50_ms),
    ):
        for name, value in lines:
            axes.plot(probes, [getattr(row, value) for row in rows], marker="o", markersize=4, label=name)
        axes.axhline(used, color="grey", linewidth=1, label=f"{lines[0][0]} as searches use it")
        axes.set(xscale="log" if rows else "linear", xlabel="probes", ylabel=label)
        axes.grid(alpha=0.25)
    took.axhline(report.scan_ms, color="grey", linestyle="--", linewidth=1, label="scan of the segments")
    took.set(yscale="log")
    for axes in (found, took):
        axes.legend(fontsize=8)
    title = f"{report.collection}: {report.kind}, {report.images:,} images, {report.queries} {report.source}"
    figure.suptitle(title, fontsize=10)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
