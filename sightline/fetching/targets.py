"""URLs taken apart, with every trick refused that makes two readers disagree about the host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urljoin

import httpx

from sightline.errors import ImageRejected
from sightline.fetching.addresses import IPAddress
from sightline.fetching.schemes import is_web
from sightline.fetching.settings import FetchSettings

REFUSED: Final = "url_refused"
"""The reason of URLs that are not asked for, whatever is behind them."""
MAX_URL: Final = 2048
"""Characters of a URL; longer ones could be no image id either."""
SHOWN: Final = 200
_WRITTEN: Final = re.compile(
    r"(https?)://(?:\[[^\]/?#\\@]+\]|[^\[\]/?#\\@:]+)(?::[0-9]{1,5})?(?:[/?#]|$)", re.IGNORECASE
)
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_NUMBER: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """Where one request goes. ``literal``: the address that the host is, when it is no name."""

    url: str
    scheme: str
    host: str
    port: int
    path: bytes
    literal: IPAddress | None

    @property
    def shown(self) -> str:
        """The URL for messages: without its query, which may hold a signature."""
        return shown(self.url)


def shown(url: str) -> str:
    """A URL as far as a message repeats it."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    return ascii(bare[:SHOWN])[1:-1] + ("…" if len(bare) > SHOWN else "")


def shown_receiver(url: str) -> str:
    """A webhook's URL as far as others are shown it: of many receivers the path is all that keeps it."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, _, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    return shown(f"{scheme}://{host}{slash}") + ("…" if path else "")


class TargetRules:
    """Takes URLs apart as the settings allow."""

    def __init__(self, settings: FetchSettings) -> None:
        self._settings = settings
        self._hosts = [host.lower().rstrip(".") for host in settings.allowed_hosts]

    def target(self, url: str) -> Target:
        """Where a URL leads. Raises ImageRejected (``url_refused``)."""
        told = shown(url)
        if len(url) > MAX_URL:
            raise ImageRejected(REFUSED, f"{told} is longer than {MAX_URL:,} characters.")
        if any(letter <= " " or letter in '\x7f\\"<>^`{|}' for letter in url):
            raise ImageRejected(REFUSED, f"{told} has characters that no URL has; percent-encode them.")
        written = _WRITTEN.match(url)
        if written is None:
            raise ImageRejected(
                REFUSED,
                f"{told} cannot be fetched: a URL reads like https://example.org/a.jpg.",
            )
        if written[1].lower() == "http" and not self._settings.http:
            raise ImageRejected(REFUSED, f"{told} is plain HTTP; only https:// is fetched here.")
        return self._checked(url, told)

    def redirected(self, target: Target, location: str) -> Target:
        """Where a redirect leads: checked like a first URL. Raises ImageRejected (``url_refused``)."""
        try:
            joined = urljoin(target.url, location)
        except ValueError:
            joined = ""
        if not is_web(joined) or len(joined) > MAX_URL:
            raise ImageRejected(REFUSED, f"{target.shown} leads to what is no web address.")
        if target.scheme == "https" and not joined.lower().startswith("https:"):
            raise ImageRejected(REFUSED, f"{target.shown} leads from https to plain HTTP.")
        return self.target(joined)

    def _checked(self, url: str, told: str) -> Target:
        try:
            parsed = httpx.URL(url)
            host = parsed.raw_host.decode("ascii").lower().removesuffix(".")
            scheme = parsed.scheme
            port = _PORTS[scheme] if parsed.port is None else parsed.port
        except (httpx.InvalidURL, ValueError, KeyError) as error:
            raise ImageRejected(REFUSED, f"{told} is no URL that can be read.") from error
        literal = _literal(host, told)
        if port != _PORTS[scheme] and port not in self._settings.ports:
            raise ImageRejected(REFUSED, f"{told} names a port that is not fetched from.")
        if self._hosts and not any(_matches(host, pattern) for pattern in self._hosts):
            raise ImageRejected(REFUSED, f"{told} is of a host that is not among those fetched from.")
        path = parsed.raw_path
        return Target(url, scheme, host, port, path, literal)


def _literal(host: str, told: str) -> IPAddress | None:
    """The address that a host is; None for a name. Only the plain forms: 127.1 and 0x7f000001 are refused."""
    try:
        if ":" in host:
            return IPv6Address(host)
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            return IPv4Address(host)
    except AddressValueError as error:
        raise ImageRejected(REFUSED, f"{told} has no host that can be read.") from error
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise ImageRejected(REFUSED, f"{told} has no host that can be read.")
    return None


def _matches(host: str, pattern: str) -> bool:
    """``*.example.org`` stands for all below it and not for itself."""
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
