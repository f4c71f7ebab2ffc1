"""Progress bars: what is done, how much of it, how fast, and how long yet; on a terminal only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sightline.console import remarks

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

WINDOW_SECONDS = 60.0
"""The rate is that of so many seconds past: work comes in batches."""


@contextmanager
def progress_bars(console: Console | None = None) -> Iterator[Progress]:
    """Bars on stderr, or on ``console``; none off a terminal, and none is left when it ends."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = console or remarks()
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _rate_column(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )  # fmt: skip
    bars = Progress(
        *columns, console=shown, disable=not shown.is_terminal, transient=True,
        speed_estimate_period=WINDOW_SECONDS,
    )  # fmt: skip
    with bars:
        yield bars


def _rate_column() -> ProgressColumn:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        """How many a second; of what takes longer, how many a minute."""

        def render(self, task: Task) -> Text:
            return Text(rate(task.finished_speed or task.speed), style="progress.data.speed")

    return Rate()


def rate(per_second: float | None) -> str:
    """``12.3/s``, ``4.0/min``; nothing before it is known."""
    if not per_second:
        return ""
    return f"{per_second:,.1f}/s" if per_second >= 1 else f"{60 * per_second:.1f}/min"
