"""Fetches one picture: a URL in, its bytes out, or one sentence why not."""

from __future__ import annotations

import logging
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpcore

from sightline.errors import ImageRejected, OverloadedError
from sightline.fetching.addresses import AddressPolicy, IPAddress
from sightline.fetching.budget import Budget, SpentError
from sightline.fetching.network import PinnedBackend, Resolve, judged, lookup, system_resolver
from sightline.fetching.settings import FetchSettings
from sightline.fetching.slots import Slots
from sightline.fetching.targets import REFUSED, Target, TargetRules, shown

UNREACHABLE: Final = "unreachable"
"""The reason of a URL whose host may not be asked, or gives no usable answer: never said which of them."""
HEAD: Final = 64
"""Bytes that are read before what is no picture is given up."""
PATIENT_TRIES: Final = 3
"""How often a server that is busy is asked, where somebody has time."""
MAX_PAUSE: Final = 10.0
"""A busy server that wants to be left alone for longer is not asked again."""
AGENT: Final = b"Sightline (pictures for a local search index)"
HEADERS: Final = (
    (b"User-Agent", AGENT),
    (b"Accept", b"image/*"),
    (b"Accept-Encoding", b"identity"),
    (b"Connection", b"close"),
)
"""All that a server is told beside its own name."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BUSY: Final = frozenset({429, 503})
_MEDIA: Final = re.compile(r"[a-z]+/[a-z0-9.+-]{1,60}")
FAILURES: Final = (
    OSError,
    ValueError,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
)
"""What ends a conversation with a host, whatever it was."""
log = logging.getLogger(__name__)


class _BusyError(Exception):
    """The server wants to be asked again after so many seconds."""

    def __init__(self, seconds: float, status: int) -> None:
        super().__init__(f"The server is busy ({status}).")
        self.seconds = seconds
        self.status = status


@dataclass(frozen=True)
class _Visit:
    """What one request brought: a picture, or where to look instead."""

    data: bytes = b""
    location: str | None = None


class Fetcher:
    """The guarded client. Thread-safe; keeps no connection, no cookie and no credential.

    ``is_picture`` looks at first bytes whose media type says nothing. ``resolve`` and ``tls`` replace the
    system's resolver and its list of authorities.
    """

    def __init__(
        self,
        settings: FetchSettings,
        is_picture: Callable[[bytes], bool],
        *,
        resolve: Resolve = system_resolver,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.settings = settings
        self._is_picture = is_picture
        self._resolve = resolve
        self._tls = ssl.create_default_context() if tls is None else tls
        self._policy = AddressPolicy(settings.allowed_networks)
        self._rules = TargetRules(settings)
        # Apart, so that strangers with slow hosts cannot hold up a job.
        self._slots = Slots(settings.connections, settings.host_connections)
        self._patient_slots = Slots(settings.connections, settings.host_connections)
        self._requests = threading.BoundedSemaphore(max(1, settings.connections))

    def check(self, url: str) -> None:
        """Whether a URL may be asked for, as far as its writing tells. Raises ImageRejected."""
        self._rules.target(url)

    @contextmanager
    def request(self) -> Iterator[Budget]:
        """What one request of a client may spend. Raises OverloadedError: too many fetch already."""
        if not self._requests.acquire(blocking=False):
            raise OverloadedError("Too many requests fetch pictures already; try again a little later.")
        try:
            yield Budget(self.settings.documents_bytes, self.settings.documents_seconds)
        finally:
            self._requests.release()

    def fetch_patiently(self, url: str) -> bytes:
        """As `fetch`, asking again when a server says that it is busy, within the time of one picture."""
        budget = Budget(self.settings.max_bytes, self.settings.seconds)
        for _ in range(PATIENT_TRIES - 1):
            try:
                return self._follow(url, budget, self._patient_slots)
            except _BusyError as busy:
                if busy.seconds > MAX_PAUSE:
                    raise _refused(url, busy.status) from None
                try:
                    time.sleep(budget.seconds(busy.seconds))
                except TimeoutError:
                    raise _refused(url, busy.status) from None
        return self._try_once(url, budget, self._patient_slots)

    def fetch(self, url: str, budget: Budget | None = None) -> bytes:
        """The bytes of the picture behind a URL.

        Raises:
            ImageRejected: ``url_refused``, ``unreachable``, ``too_many_bytes`` or ``not_an_image``. Of hosts
            that may not be asked nothing can be learnt: the sentence is that of hosts that do not answer.
        """
        own = self.settings
        return self._try_once(url, budget or Budget(own.max_bytes, own.seconds), self._slots)

    def _try_once(self, url: str, budget: Budget, slots: Slots) -> bytes:
        try:
            return self._follow(url, budget, slots)
        except _BusyError as busy:
            raise _refused(url, busy.status) from None

    def _follow(self, url: str, budget: Budget, slots: Slots) -> bytes:
        target = self._rules.target(url)
        for _ in range(self.settings.max_redirects + 1):
            visit = self._visit(target, budget, slots, url)
            if visit.location is None:
                return visit.data
            target = self._rules.redirected(target, visit.location)
        raise ImageRejected(REFUSED, f"{shown(url)} redirects more than {self.settings.max_redirects} times.")

    def _visit(self, target: Target, budget: Budget, slots: Slots, url: str) -> _Visit:
        try:
            with slots.of(target.host, budget):
                return self._ask(target, self._addresses(target, budget), budget)
        except FAILURES as error:
            # The sentence is the same whatever it was; only the operator's log says more.
            log.info("%s was not fetched: %s: %s", target.shown, type(error).__name__, error)
        detail = f"{shown(url)} cannot be fetched: its host gives no picture, or may not be asked."
        raise ImageRejected(UNREACHABLE, detail)

    def _addresses(self, target: Target, budget: Budget) -> list[IPAddress]:
        """The host's addresses, resolved once and judged. Raises OSError."""
        if target.literal is not None:
            return judged([str(target.literal)], self._policy)
        seconds = budget.seconds(self.settings.idle_seconds)
        return judged(lookup(self._resolve, target.host, target.port, seconds), self._policy)

    def _ask(self, target: Target, addresses: list[IPAddress], budget: Budget) -> _Visit:
        """One request on a connection of its own."""
        most = min(self.settings.max_bytes, budget.most_bytes)
        backend = PinnedBackend(addresses, budget, self.settings.idle_seconds, most)
        host = target.host.encode()
        origin = httpcore.Origin(target.scheme.encode(), host, target.port)
        url = httpcore.URL(scheme=origin.scheme, host=host, port=target.port, target=target.path)
        headers = [(b"Host", host_header(target)), *HEADERS]
        with (
            httpcore.HTTPConnection(origin, ssl_context=self._tls, network_backend=backend) as connection,
            connection.stream("GET", url, headers=headers) as response,
        ):
            named = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in named:
                return _Visit(location=named[b"location"])
            if response.status in _BUSY:
                raise _BusyError(_pause(named.get(b"retry-after")), response.status)
            if response.status != 200:
                raise _refused(target.url, response.status)
            return _Visit(self._body(target, named, response, budget))

    def _body(
        self, target: Target, named: dict[bytes, str], response: httpcore.Response, budget: Budget
    ) -> bytes:
        """The bytes, given up as soon as they are too many or no picture."""
        if named.get(b"content-encoding", "identity").strip().lower() not in ("identity", ""):
            raise ImageRejected(UNREACHABLE, f"{target.shown} comes compressed, which was not asked for.")
        declared = named.get(b"content-length", "")
        most = self.settings.max_bytes
        if declared.isdecimal() and int(declared[:20]) > most:
            raise _too_many(target, most)
        media = named.get(b"content-type", "").partition(";")[0].strip().lower()
        looked = media.startswith("image/")
        body = bytearray()
        try:
            for chunk in response.iter_stream():
                body += chunk
                budget.take(len(chunk))
                if len(body) > most:
                    raise _too_many(target, most)
                if not looked and len(body) >= HEAD:
                    self._look(target, media, bytes(body[:HEAD]))
                    looked = True
        except SpentError:
            raise _too_many(target, budget.most_bytes) from None
        if not looked:
            self._look(target, media, bytes(body[:HEAD]))
        return bytes(body)

    def _look(self, target: Target, media: str, head: bytes) -> None:
        """Raises ImageRejected (``not_an_image``) for bytes that neither say nor look like a picture."""
        if not self._is_picture(head):
            what = media if _MEDIA.fullmatch(media) else "something else"
            raise ImageRejected("not_an_image", f"{target.shown} brings {what}, not a picture.")


def host_header(target: Target) -> bytes:
    """What is said of the host: with its port where that is not the scheme's."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    usual = {"http": 80, "https": 443}[target.scheme]
    return (host if target.port == usual else f"{host}:{target.port}").encode()


def _refused(url: str, status: int) -> ImageRejected:
    return ImageRejected(UNREACHABLE, f"{shown(url)} is answered with status {status}, without a picture.")


def _too_many(target: Target, most: int) -> ImageRejected:
    return ImageRejected("too_many_bytes", f"{target.shown} brings more than the {most:,} bytes allowed.")


def _pause(wish: str | None) -> float:
    """Seconds until a busy server wants to be asked again; a second when it does not say."""
    wish = (wish or "").strip()
    if wish.isdecimal():
        return float(wish[:9])
    try:
        return max(0.0, (parsedate_to_datetime(wish) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 1.0
