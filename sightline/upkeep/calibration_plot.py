"""A reliability diagram as a PNG: what was said of pairs, and what was so, before and after."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from sightline.errors import UnavailableError

if TYPE_CHECKING:
    from sightline.upkeep.calibrating import CalibrationReport


def reliability_png(report: CalibrationReport) -> bytes:
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
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    drawn = zip(
        figure.subplots(1, 2, sharey=True),
        (
            ("the softmax itself", report.raw_bins, report.ece_raw),
            ("calibrated", report.bins, report.ece_after),
        ),
        strict=True,
    )
    for axes, (title, bins, error_) in drawn:
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
        axes.plot([one.said for one in bins], [one.so for one in bins], marker="o", markersize=4)
        for one in bins:
            axes.annotate(f"{one.count:,}", (one.said, one.so), fontsize=6, xytext=(3, -8),
                          textcoords="offset points")  # fmt: skip
        axes.set(
            title=f"{title}: ECE {error_:.3f}", xlabel="match probability", xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
        )  # fmt: skip
        axes.grid(alpha=0.25)
    figure.axes[0].set_ylabel("part that is right")
    pairs = f"{report.held_out_pairs:,} held-out pairs of {report.held_out_queries:,} queries"
    figure.suptitle(f"{report.collection}: {pairs}", fontsize=10)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
