"""What clients write, as values of metrics and log lines: few, short, on one line."""

from __future__ import annotations

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
OTHER = "other"
LONGEST = 500


def method_label(method: str) -> str:
    """The method, or ``other``: a client may invent as many as it likes."""
    return method if method in METHODS else OTHER


def printable(text: str, longest: int = LONGEST) -> str:
    """The start of a text, with escapes for all that ends a line or moves a cursor."""
    cut = text if len(text) <= longest else f"{text[:longest]}…"
    if cut.isprintable():
        return cut
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in cut)
