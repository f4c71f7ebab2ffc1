"""Names of hosts as requests and settings write them: ``Host``, origins of web pages, patterns of names.

What is compared is what was written. Nothing is looked up: whoever owns a name decides what it resolves to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from sightline.api.clients import read_ip

AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{0,5}))?", re.IGNORECASE | re.ASCII)
ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]+)", re.IGNORECASE | re.ASCII)
PATTERN = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]", re.IGNORECASE | re.ASCII)
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Authority:
    """``host:port`` of an address. The host is in lower case, without a last dot."""

    host: str
    port: int | None = None

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The IP address that the host is, written as one; None for a name (``2130706433`` is one)."""
        return read_ip(self.host.removeprefix("[").removesuffix("]"))

    @property
    def is_loopback(self) -> bool:
        """Whether it names this machine to whoever asks: no owner of a domain can make it name another."""
        if self.ip is not None:
            return self.ip.is_loopback
        return self.host == "localhost" or self.host.endswith(".localhost")

    def matches(self, patterns: Iterable[str]) -> bool:
        """Whether it is ``example.org``, below ``*.example.org``, or ``*`` is among them; in lower case."""
        return any(
            pattern in ("*", self.host) or (pattern.startswith("*.") and self.host.endswith(pattern[1:]))
            for pattern in patterns
        )


def read_authority(text: str) -> Authority | None:
    """A ``Host`` header; None for what is none: empty, with a user, a path, a zone, a port that is no number.

    >>> read_authority("LOCALHOST.:8000")
    Authority(host='localhost', port=8000)
    >>> read_authority("user@localhost")
    """
    found = AUTHORITY.fullmatch(text)
    if found is None:
        return None
    return Authority(found[1].lower().removesuffix("."), int(found[2]) if found[2] else None)


def read_origin(text: str) -> tuple[str, Authority] | None:
    """Scheme and authority of an origin; None for ``null``, for more than an origin, and the like.

    >>> read_origin("https://example.org:444")
    ('https', Authority(host='example.org', port=444))
    >>> read_origin("https://localhost@example.org")
    """
    found = ORIGIN.fullmatch(text)
    authority = read_authority(found[2]) if found else None
    return (found[1].lower(), authority) if found and authority else None


def is_same_place(scheme: str, origin: Authority, host: Authority) -> bool:
    """Whether an origin of this scheme and a ``Host`` name one server; default ports may be left out."""
    usual = DEFAULT_PORTS.get(scheme)
    return origin.host == host.host and (origin.port or usual) == (host.port or usual)
