"""Who may use the API: a key as a bearer token or as a session cookie.

The guard stands in front of everything and says in ``scope["access"]`` who asks; what a key may do is said by
each route (`sightline.api.access`). Without a key in the settings, and while the catalog never had one,
nobody is asked for any. Whether that is so is not known while the catalog is away: then nothing opens.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import anyio
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from sightline.api.access import OPEN, STRANGER, Access
from sightline.api.attempts import Attempts
from sightline.api.audit import address_of, note_attempt
from sightline.api.authority import read_authority
from sightline.api.discretion import Shown, shown
from sightline.api.keyring import Keyring, Ring
from sightline.api.local_caller import LOCAL, LocalCaller
from sightline.api.problems import Problem, from_error, respond
from sightline.api.sessions import COOKIE, read_session
from sightline.api.settings import ApiSettings
from sightline.api.urls import path_of
from sightline.errors import UnavailableError
from sightline.store.access import Key, hash_of, id_in, proof_of

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog

PUBLIC: Final = frozenset({"/livez", "/readyz", "/session", "/session/end", "/favicon.ico", "/v1/local"})
"""What answers without a key; besides, the page asks for one itself, and /static holds no secrets."""
GLANCE_SECONDS: Final = 0.5
"""How long /readyz waits to learn who asks it."""
SETTINGS_KEY: Final = "(settings)"
"""The name, in audit lines, of the key in the settings; no key of the catalog can be called so."""
NO_KEY: Final = "This server asks for a key: send it as 'Authorization: Bearer KEY'."
_NOBODY: Final = Key("", "", hash_of(b""), "read", (), 0.0, None, None, None)


@dataclass(frozen=True)
class Given:
    """What a request gave to prove who asks."""

    how: Literal["header", "cookie", "form"]
    value: str


def from_header(value: str) -> str:
    """The text of a header value: clients send UTF-8, ASGI frameworks read latin-1."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def given_in(headers: Headers) -> Given | None:
    """The bearer token, else the session cookie."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return Given("header", from_header(token.strip()))
    cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
    return Given("cookie", cookie) if cookie else None


class Gatekeeper:
    """Judges what was given, against the key in the settings and those of the catalog."""

    def __init__(self, settings: ApiSettings, catalog: Catalog, local: LocalCaller) -> None:
        self.keyring = Keyring(catalog)
        self._local = local
        self.attempts = Attempts(settings.key_attempts)
        self._own = None if settings.key is None else _own_key(settings.key)
        self._is_local, self._tells = is_for_this_machine(settings), settings.show_details

    @property
    def unknown(self) -> Access:
        """Whoever asks while the catalog cannot tell whether keys are asked for: may nothing."""
        return Access(None, None, frozenset(), controlled=self.has_own or not self._is_local)

    @property
    def has_own(self) -> bool:
        """Whether the settings have a key."""
        return self._own is not None

    def time(self) -> float:
        """Now, on the database's clock when it was asked already."""
        ring = self.keyring.last
        return time.time() if ring is None else ring.time()

    async def is_controlled(self) -> bool:
        """Whether keys are asked for; not, while the catalog is away and never said so."""
        if self.has_own:
            return True
        try:
            return (await self._look(stale=True)).ever
        except Problem:
            return False

    async def admit(self, scope: Scope, given: Given | None, *, stale: bool = False) -> Access:
        """Who asks. ``stale``: while the catalog is away, the keys that were known last will do.

        Raises:
            Problem: 401 without a right key where one is asked for, 429 after too many wrong ones, 503 while
                the catalog cannot tell.
        """
        if given is not None and given.how == "header" and self._local.admits(scope, given.value):
            return LOCAL
        if given is None and self._own is not None:
            raise _unauthorized(NO_KEY)
        key = None if given is None else self._own_in(scope, given)
        if key is None:
            ring = await self._look(stale=stale)
            if self._own is None and not ring.ever:
                return OPEN
            if given is None:
                raise _unauthorized(NO_KEY)
            key = self._known_in(scope, given, ring)
            self.keyring.used(key.id, ring)
        bound = None if key.collections is None else frozenset(key.collections)
        return Access(key.name, key.scope, bound, key_id=key.id)

    async def key_of(self, scope: Scope, text: str) -> Key:
        """The key that somebody typed into the page's form; raises as ``admit``."""
        given = Given("form", text.strip())
        own = self._own_in(scope, given)
        return own if own is not None else self._known_in(scope, given, await self._look())

    async def _look(self, *, stale: bool = False) -> Ring:
        try:
            return await self.keyring.look()
        except UnavailableError as error:
            if stale and self.keyring.last is not None:
                return self.keyring.last
            if self._tells or not self.unknown.controlled:
                shown.set(Shown())  # whoever sits at this machine has to know what to do
            raise from_error(error) from error

    def _own_in(self, scope: Scope, given: Given) -> Key | None:
        """The settings' key, when that is what was given. It can be guessed, so it may have to wait."""
        own = self._own
        if own is None or not _proves(given, own):
            return None
        address = address_of(scope)
        seconds = self.attempts.used_up(address)
        if seconds is not None:
            raise _too_many(seconds)
        self.attempts.right(address)
        self._check_end(given, own, self.time())
        return own

    def _known_in(self, scope: Scope, given: Given, ring: Ring) -> Key:
        """The catalog's key; the work is the same whether its id is known or not."""
        known = _looked_up(given, ring.keys)
        if not _proves(given, known) or known is _NOBODY:
            raise self._wrong(scope, given, known)
        self._check_end(given, known, ring.time())
        return known

    def _check_end(self, given: Given, key: Key, now: float) -> None:
        if key.is_over(now):
            raise _unauthorized(f"The key {key.name} has expired: ask for another one.")
        session = read_session(given.value) if given.how == "cookie" else None
        if session is not None and session.ends <= now:
            raise _unauthorized("The session is over: give the key again.")

    def _wrong(self, scope: Scope, given: Given, known: Key) -> Problem:
        seconds = self.attempts.wrong(address_of(scope))
        if seconds is not None:
            return _too_many(seconds)
        note_attempt(scope, given.how, known.name or None, 401)
        return _unauthorized("That is no key of this server, or no longer one.")


def is_for_this_machine(settings: ApiSettings) -> bool:
    """Whether nobody but users of this machine is meant to reach a server without keys."""
    if settings.insecure or settings.allowed_hosts:
        return False
    host = read_authority(f"[{settings.host}]" if ":" in settings.host else settings.host)
    return host is not None and host.is_loopback


def _own_key(text: str) -> Key:
    return Key("settings", SETTINGS_KEY, hash_of(proof_of(text)), "admin", None, 0.0, None, None, None)


def _looked_up(given: Given, keys: Mapping[str, Key]) -> Key:
    session = read_session(given.value) if given.how == "cookie" else None
    key_id = session.key_id if session is not None else id_in(given.value)
    return keys.get(key_id or "", _NOBODY)


def _proves(given: Given, key: Key) -> bool:
    """Whether what was given is this key, or a session of it; in constant time."""
    if given.how != "cookie":
        return hmac.compare_digest(hash_of(proof_of(given.value)), key.sha256)
    session = read_session(given.value)
    return session is not None and session.is_of(key)


def _unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="sightline"'})


def _too_many(seconds: int) -> Problem:
    detail = f"Too many wrong keys came from this address: try again in {seconds} seconds."
    return Problem(429, detail, headers={"Retry-After": str(seconds)})


class Guard:
    """ASGI middleware in front of everything that reads or writes."""

    def __init__(self, app: ASGIApp, gatekeeper: Gatekeeper) -> None:
        self._app = app
        self._gatekeeper = gatekeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = await self._refusal(scope)
        if problem is not None:
            await respond(problem, scope["path"], scope.get("request_id"))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Problem | None:
        """Say in the scope who asks; the refusal when that is a stranger who may not."""
        headers, path = Headers(scope=scope), path_of(scope)
        scope["access"] = STRANGER
        if path == "/readyz":
            await self._glance(scope, headers)
        if path in PUBLIC or path.startswith("/static/"):
            return None
        try:
            stale = path == "/metrics"  # of numbers alone, and of use just when the catalog is away
            scope["access"] = await self._gatekeeper.admit(scope, given_in(headers), stale=stale)
        except Problem as problem:
            if path != "/":
                return problem
            if problem.status == 503:
                scope["access"] = self._gatekeeper.unknown
            scope["refused"] = problem  # the page says it in its own words
        return None

    async def _glance(self, scope: Scope, headers: Headers) -> None:
        """Health is told to everybody, whatever hangs; who may see more is known when it is known at once."""
        with anyio.move_on_after(GLANCE_SECONDS):
            try:
                scope["access"] = await self._gatekeeper.admit(scope, given_in(headers), stale=True)
            except Problem as problem:
                if problem.status == 503:
                    scope["access"] = self._gatekeeper.unknown
