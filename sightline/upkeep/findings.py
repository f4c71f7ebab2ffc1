"""What was found by looking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sightline.errors import NoCatalogError, SightlineError

Status = Literal["ok", "note", "problem"]
NAMED = 10
"""Names in one sentence; ``names`` has them all."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    ``names``: each thing that a problem or note is about, where there are several.
    """

    subject: str
    status: Status
    detail: str
    names: tuple[str, ...] = ()


def guarded(subject: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """What the look found, or the one sentence of what prevented it: the others are still looked at."""
    try:
        return look()
    except NoCatalogError as error:
        return [Finding(subject, "note", str(error))]
    except (SightlineError, OSError) as error:
        return [Finding(subject, "problem", str(error))]
    except Exception as error:  # a damaged row can hold anything, and the others are to be looked at too
        detail = f"this cannot be looked at: {type(error).__name__}: {error}"
        return [Finding(subject, "problem", detail)]
