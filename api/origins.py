"""Which web pages may make a browser talk to us, and under which names: ``Host``, ``Origin`` and the like.

A browser sends requests for any page that asks it to, from inside the network and with its cookies; what it
says about that page is true. So without a key only names that nobody else can make resolve to us are answered
(against DNS rebinding), and a page of another origin neither writes nor reads unless it is listed; the
session cookie acts for our own pages only. A client that is no browser sends none of this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sightline.api.access import SAFE
from sightline.api.authority import is_same_place, read_authority, read_origin
from sightline.api.problems import Problem, respond
from sightline.api.settings import ApiSettings
from sightline.api.urls import path_of

OWN = frozenset({"same-origin", "none"})
"""What ``Sec-Fetch-Site`` says of our own pages and of what a person typed."""
POLICY_VIOLATION = 1008
UNNAMED = ""


@dataclass(frozen=True)
class Stranger:
    """Another web site, whose page makes this request: its origin, ``""`` where the browser keeps it back."""

    origin: str
    listed: bool


class Origins:
    """ASGI middleware in front of everything that answers, preflights and refusals of keys included.

    ``is_controlled``: whether callers need a key; asked for every other name, because keys come and go.
    """

    def __init__(
        self, app: ASGIApp, settings: ApiSettings, is_controlled: Callable[[], Awaitable[bool]]
    ) -> None:
        self._app = app
        self._insecure = settings.insecure
        # The name that it was told to listen on is its owner's: health checks ask under it.
        self._hosts = tuple(name.lower() for name in (*settings.allowed_hosts, settings.host) if name)
        self._origins = frozenset(settings.cors_origins)
        self._is_controlled = is_controlled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # there are none here, and browsers let any page open one
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        stranger = self._stranger(scope, headers)
        problem = await self._wrong_host(scope, headers) or self._refusal(scope, headers, stranger)
        if problem is not None:
            await respond(problem, scope["path"], scope.get("request_id"))(scope, receive, send)
            return
        if stranger is not None:
            # In the same scope: what the route says in it is read outside, to count and log the request.
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"cookie"]
        await self._app(scope, receive, self._sender(stranger, send))

    async def _wrong_host(self, scope: Scope, headers: Headers) -> Problem | None:
        given = headers.getlist("host")
        if len(given) > 1:
            return Problem(400, "A request names one host, and this one names several.")
        host = read_authority(given[0]) if given else None
        if host is not None and (host.is_loopback or host.matches(self._hosts)):
            return None
        # An address made of digits cannot be pointed elsewhere; on an open network nobody knows all of ours.
        if host is not None and host.ip is not None and (self._insecure or _is_sign_of_life(scope)):
            return None
        if await self._is_controlled():
            return None
        shown = f"{given[0][:100]!r}" if given else "a request without a host"
        return Problem(
            421,
            f"Without a key this server answers to names of this machine such as localhost, not to {shown}; "
            "set SIGHTLINE_API__KEY, or list the name in SIGHTLINE_API__ALLOWED_HOSTS.",
        )

    def _stranger(self, scope: Scope, headers: Headers) -> Stranger | None:
        """The other web site that asks; None for our own pages, and for what no page makes."""
        origin = _origin(headers, scope["method"] in SAFE)
        own = origin is not None and _is_own(origin, scope, headers)
        site = headers.get("sec-fetch-site")
        listed = "*" in self._origins or origin in self._origins
        told = headers.get("origin") is not None
        if site is not None and site not in OWN:
            return Stranger(origin or UNNAMED, listed)
        # A referrer alone is no reason to refuse: it only makes a listed site known where nothing else does.
        if own or origin is None or not (told or (site is None and listed)):
            return None
        return Stranger(origin, listed)

    def _refusal(self, scope: Scope, headers: Headers, stranger: Stranger | None) -> Problem | None:
        if stranger is None or stranger.listed or scope["method"] == "OPTIONS" or _is_visit(scope, headers):
            return None
        does = "read" if scope["method"] in SAFE else "write"
        return Problem(
            403, f"Another web site may not {does} here; list its origin in SIGHTLINE_API__CORS_ORIGINS."
        )

    def _sender(self, stranger: Stranger | None, send: Send) -> Send:
        """Answers that differ by who asks say so to caches; a listed site may embed what it asked for."""
        if not self._origins:
            return send
        added = [(b"vary", b"Origin, Sec-Fetch-Site")]
        if "*" in self._origins or (stranger is not None and stranger.listed):
            added.append((b"cross-origin-resource-policy", b"cross-origin"))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        return send_with_headers


def _origin(headers: Headers, safe: bool) -> str | None:
    """The origin of the page that asks, as far as the request tells: None when it does not.

    Several at once are no origin. Pictures are asked for without one: there the referrer has it.
    """
    given = headers.getlist("origin")
    if given:
        return given[0] if len(given) == 1 else UNNAMED
    page = "/".join(headers.get("referer", "").split("/", 3)[:3])
    return page if safe and read_origin(page) is not None else None


def _is_sign_of_life(scope: Scope) -> bool:
    """``/livez``, which tells nothing: asked under the address of a container, it waits for no catalog."""
    return scope["method"] in SAFE and path_of(scope) == "/livez"


def _is_own(origin: str, scope: Scope, headers: Headers) -> bool:
    """Whether this origin is the server that ``Host`` names. A proxy may keep its TLS to itself."""
    found, host = read_origin(origin), read_authority(headers.get("host", ""))
    if found is None or host is None:
        return False
    scheme, authority = found
    if scope.get("scheme") == "https" and scheme != "https":
        return False
    return is_same_place(scheme, authority, host)


def _is_visit(scope: Scope, headers: Headers) -> bool:
    """A link to here that was followed: shown by the browser itself, out of the other page's reach."""
    mode, kind = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest", "document")
    return scope["method"] in SAFE and mode == "navigate" and kind == "document" and "origin" not in headers
