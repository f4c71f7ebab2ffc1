"""Dates and times with their zone: the instants that they mean, compared in Python and in SQL alike."""

from __future__ import annotations

import math
import re
import sqlite3
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

_LEAP: Final = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29"
_DAY: Final = (
    "([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    f"|02-(0[1-9]|1[0-9]|2[0-8]))|{_LEAP})"
)
_CLOCK: Final = "([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]{1,18})?"
_ZONE: Final = "([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
PATTERN: Final = f"^(?!0000){_DAY}[Tt ]{_CLOCK}{_ZONE}$"
"""A date-time of RFC 3339 on a day that there is; Python and PostgreSQL read this pattern alike."""
INSTANT: Final = "sightline_instant"
"""What SQLite knows ``instant_key`` as."""

_SHAPE = re.compile(PATTERN)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = 1_000_000
_FIRST: Final = datetime.min.replace(tzinfo=UTC).timestamp()
_END: Final = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


def instant(text: str) -> Decimal | None:
    """Seconds since the day before year 1, all digits kept; None for what is no such date-time.

    Never negative, whatever the zone.
    """
    key = instant_key(text)
    return None if key is None else Decimal(key)


def instant_key(text: object) -> str | None:
    """The same as digits that are ordered as texts are: SQLite has no numbers that keep them all."""
    if not isinstance(text, str) or text.endswith("\n") or not _SHAPE.match(text):
        return None
    body, zone = (text[:-1], 0) if text[-1] in "Zz" else (text[:-6], _offset(text[-6:]))
    hours, minutes, seconds = int(body[11:13]), int(body[14:16]), int(body[17:19])
    days = date.fromisoformat(body[:10]).toordinal()
    whole = 86_400 * days + 3_600 * hours + 60 * minutes + seconds - zone
    return f"{whole:012d}.{body[20:].rstrip('0')}0"


def _offset(zone: str) -> int:
    seconds = 3_600 * int(zone[1:3]) + 60 * int(zone[4:6])
    return -seconds if zone[0] == "-" else seconds


def install(connection: sqlite3.Connection) -> None:
    """Make the function known on a connection."""
    connection.create_function(INSTANT, 1, instant_key, deterministic=True)


def moment_at(seconds: float) -> datetime:
    """What is shown of so many seconds since 1970, in UTC; beyond the calendar's ends, they themselves.

    What is stored may be whatever somebody once sent: that must not keep all the rest from being listed.
    """
    if seconds < _FIRST:
        return datetime.min.replace(tzinfo=UTC)
    return datetime.fromtimestamp(seconds, UTC) if seconds < _END else datetime.max.replace(tzinfo=UTC)


def shown_span(text: str) -> tuple[float, float] | None:
    """From which second since 1970, and before which, times are shown as this one; None for no such text.

    Answers show microseconds, and the catalog keeps a little more.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    shown = (moment - _EPOCH) // timedelta(microseconds=1)
    return _first_shown_as(shown), _first_shown_as(shown + 1)


def _first_shown_as(microseconds: int) -> float:
    """The least number that is rounded to so many microseconds, or more."""
    number = float(Fraction(2 * microseconds - 1, 2 * _MICROSECONDS))
    while _shown(before := math.nextafter(number, -math.inf)) >= microseconds:
        number = before
    while _shown(number) < microseconds:
        number = math.nextafter(number, math.inf)
    return number


def _shown(seconds: float) -> int:
    return round(Fraction(seconds) * _MICROSECONDS)
