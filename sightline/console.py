"""Where a process speaks to a person: answers on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TextIO

from rich.console import Console, HighlighterType, JustifyMethod, OverflowMethod
from rich.style import Style
from rich.text import Text

UNBROKEN = 100_000
"""Cells of a line that nobody breaks."""

CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}
"""What would command a terminal, as escapes; lines and tabs stay. Captions are anybody's words."""


class PlainConsole(Console):
    """Texts command nothing: colours come from styles alone."""

    def render_str(
        self,
        text: str,
        *,
        style: str | Style = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        emoji: bool | None = None,
        markup: bool | None = None,
        highlight: bool | None = None,
        highlighter: HighlighterType | None = None,
    ) -> Text:
        """As rich's own, without control characters."""
        return super().render_str(
            harmless(text), style=style, justify=justify, overflow=overflow, emoji=emoji, markup=markup,
            highlight=highlight, highlighter=highlighter,
        )  # fmt: skip


def harmless(text: str) -> str:
    """The same text with control characters as escapes, but for the ends of lines and tabs."""
    return text.translate(CONTROLS)


def prepare_streams() -> None:
    """Names of files may be bytes that are no text, and a stream may take ASCII only: escapes take the place
    of what it cannot take. A stream that was closed takes everything, to nowhere.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for good
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def unwritten(stream: TextIO | None, text: str = "") -> OSError | None:
    """Why what was said to a stream, and ``text``, does not arrive; then the rest of it goes nowhere.

    Python would say so itself when it ends, in words of its own.
    """
    if stream is None or stream.closed:
        return None
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # what is buffered is flushed once more at the end
        os.close(nowhere)
        return error
    return None


def answers(width: int | None = None) -> Console:
    """The console of results: stdout. ``width``: of a line, in place of the terminal's."""
    return _console(sys.stdout, width)


def reports() -> Console:
    """The console of reports: stdout. Where there is no terminal they fit 80 columns."""
    return answers() if sys.stdout.isatty() else Console(highlight=False, width=80)


def remarks() -> Console:
    """The console of progress, hints and errors: stderr."""
    return _console(sys.stderr, None)


def _console(stream: TextIO, width: int | None) -> Console:
    """Lines of a pipe or a file have no end at which they would be broken."""
    if stream.isatty():
        return PlainConsole(stderr=stream is sys.stderr, highlight=False, width=width)
    return PlainConsole(stderr=stream is sys.stderr, highlight=False, width=UNBROKEN, soft_wrap=True)
