"""Posts a small document to a URL that a user named, guarded as `client.Fetcher` is."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from typing import Final

import httpcore

from sightline.errors import ImageRejected, InputError, UnavailableError
from sightline.fetching.addresses import AddressPolicy, IPAddress
from sightline.fetching.budget import Budget
from sightline.fetching.client import FAILURES, host_header
from sightline.fetching.network import PinnedBackend, Resolve, judged, lookup, system_resolver
from sightline.fetching.settings import FetchSettings
from sightline.fetching.targets import Target, TargetRules, shown_receiver

AGENT: Final = b"Sightline (saved searches)"
ANSWER_BYTES: Final = 64 << 10
"""Of an answer that are read at most: its status is all that counts."""
log = logging.getLogger(__name__)


class Poster:
    """Thread-safe; keeps no connection, no cookie and no credential, and follows no redirect.

    ``settings`` say which hosts, ports and networks may be asked, and whether plain HTTP is; not how long.
    ``resolve`` and ``tls`` replace the system's resolver and its list of authorities.
    """

    def __init__(
        self,
        settings: FetchSettings,
        seconds: float,
        *,
        resolve: Resolve = system_resolver,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``seconds``: wall clock of one call."""
        self._seconds = seconds
        self._resolve = resolve
        self._tls = ssl.create_default_context() if tls is None else tls
        self._policy = AddressPolicy(settings.allowed_networks)
        self._rules = TargetRules(settings)

    def check(self, url: str) -> None:
        """Whether a URL may be posted to, as far as its writing tells. Raises InputError."""
        target = self._target(url)
        if target.literal is not None and not self._policy.permits(target.literal):
            raise InputError(f"{shown_receiver(target.url)} names an address that is not public.")

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Delivered once this returns: the receiver has answered with a status from 200 to 299.

        Raises:
            InputError: the URL may not be posted to.
            UnavailableError: the host may not be asked, does not answer, or answers with another status. Of
            hosts that may not be asked the sentence is that of hosts that do not answer.
        """
        target = self._target(url)
        budget, shown = Budget(ANSWER_BYTES, self._seconds), shown_receiver(target.url)
        try:
            status = self._ask(target, self._addresses(target, budget), budget, body, headers)
        except FAILURES as error:
            log.info("%s was not posted to: %s: %s", shown, type(error).__name__, error)
            raise UnavailableError(
                f"{shown} cannot be reached: its host does not answer in time, or may not be asked."
            ) from None
        if not 200 <= status < 300:
            raise UnavailableError(f"{shown} answers with status {status}.")

    def _target(self, url: str) -> Target:
        try:
            return self._rules.target(url)
        except ImageRejected as error:
            raise InputError(f"The webhook cannot be used: {error.detail}") from None

    def _addresses(self, target: Target, budget: Budget) -> list[IPAddress]:
        """The host's addresses, resolved once and judged. Raises OSError."""
        if target.literal is not None:
            return judged([str(target.literal)], self._policy)
        seconds = budget.seconds(self._seconds)
        return judged(lookup(self._resolve, target.host, target.port, seconds), self._policy)

    def _ask(
        self,
        target: Target,
        addresses: list[IPAddress],
        budget: Budget,
        body: bytes,
        headers: Mapping[str, str],
    ) -> int:
        """The status of the answer to one request on a connection of its own."""
        backend = PinnedBackend(addresses, budget, self._seconds, ANSWER_BYTES)
        host = target.host.encode()
        origin = httpcore.Origin(target.scheme.encode(), host, target.port)
        url = httpcore.URL(scheme=origin.scheme, host=host, port=target.port, target=target.path)
        sent = [
            (b"Host", host_header(target)),
            (b"User-Agent", AGENT),
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(len(body)).encode()),
            (b"Connection", b"close"),
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ]
        with (
            httpcore.HTTPConnection(origin, ssl_context=self._tls, network_backend=backend) as connection,
            connection.stream("POST", url, headers=sent, content=body) as response,
        ):
            return response.status
