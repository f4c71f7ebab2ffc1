"""Who may use the API: one optional key, as a bearer token or as a session cookie.

The cookie holds an HMAC of a fixed text under the key, so it proves the key without containing it, and
changing the key ends every session.
"""

from __future__ import annotations

import hashlib
import hmac

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from sightline.api.problems import Problem, respond
from sightline.api.settings import ApiSettings

COOKIE = "sightline_session"
OPEN = frozenset({"/livez", "/readyz", "/session", "/favicon.ico"})


def session_value(key: str) -> str:
    """What the session cookie of this key holds."""
    return hmac.new(key.encode(), b"sightline-session-v1", hashlib.sha256).hexdigest()


def same(given: str, expected: str) -> bool:
    """Compare secrets in constant time, whatever characters were given."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def from_header(value: str) -> str:
    """The text of a header value: clients send UTF-8, ASGI frameworks read latin-1."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def is_authorized(headers: Headers, key: str | None) -> bool:
    """Whether these headers prove the key (always, when there is none)."""
    if key is None:
        return True
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and same(from_header(token.strip()), key):
        return True
    cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
    return cookie is not None and same(cookie, session_value(key))


class Guard:
    """ASGI middleware in front of everything that reads or writes."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = self._refusal(scope)
        if problem is not None:
            await respond(problem, scope["path"], scope.get("request_id"))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers, path = Headers(scope=scope), scope["path"].removeprefix(scope.get("root_path", ""))
        scope["authorized"] = is_authorized(headers, self._settings.key)
        if scope["authorized"] or path in OPEN or path == "/" or path.startswith("/static/"):
            return None
        detail = "This server asks for a key: send it as 'Authorization: Bearer KEY'."
        return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="sightline"'})
