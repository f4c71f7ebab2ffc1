"""429 for whoever asks too much, before anything is done for it: by key, by address, and at once.

Work for the model is counted by itself; all else (pictures, lists, the page) may come ``CHEAP`` times as
often. Health checks and the page's own files are free. A server without a key that this machine alone reaches
does not count this machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from sightline.api.access import STRANGER, Access
from sightline.api.audit import address_of
from sightline.api.clients import client_of, is_here
from sightline.api.problems import Problem, respond
from sightline.api.rates import RateLimit
from sightline.api.urls import RERANKS, is_following, is_upload, path_of

if TYPE_CHECKING:
    from sightline.api.settings import ApiSettings

CHEAP = 10
"""How many requests that need no model count as one that does."""
SHARE = 4
"""One client has a quarter of the places in front of the model, unless a setting says otherwise, and of those
for followers of jobs and saved searches.
"""
PAGES = 8
"""Pages without a query that one client may wait for at once: browsers use six connections."""
FREE = frozenset({"/livez", "/readyz", "/favicon.ico"})
MODEL = re.compile(r"/like|/v1/(captions|collections/[^/]+/(search(/image|/batch)?|ask))")
EXPLANATION = re.compile(r"/v1/collections/[^/]+/images/.+/explanation")


class Throttle:
    """ASGI middleware behind the Guard, which says whose key it is (``scope["access"]``).

    ``waiting`` is how many requests may wait for the model.
    """

    def __init__(self, app: ASGIApp, settings: ApiSettings, waiting: int) -> None:
        self._app = app
        self._rules = {"key": settings.rate_per_key, "address": settings.rate_per_address}
        self._model = {kind: RateLimit(rule) for kind, rule in self._rules.items() if rule}
        self._cheap = {kind: RateLimit(rule, CHEAP) for kind, rule in self._rules.items() if rule}
        own = settings.concurrent_per_client
        self._most = {
            "searches": max(1, waiting // SHARE) if own is None else own,
            "uploads": max(1, settings.max_uploads // 2),
            "streams": max(1, settings.max_followers // SHARE),
            "pages": PAGES,
            "requests": 0,
        }
        self._at_once: Counter[str] = Counter()  # touched by the event loop's thread alone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        callers = self._callers(scope) if scope["type"] == "http" else {}
        if not callers:
            await self._app(scope, receive, send)
            return
        what = kind_of(scope)
        most = self._most[what]
        problem = self._too_often(callers, what == "searches") or self._too_many(callers, what, most)
        if problem is not None:
            await respond(problem, scope["path"], scope.get("request_id"))(scope, receive, send)
            return
        scope["charge"] = partial(self._charge, callers)
        with self._counted(f"{what} {_first(callers)}") if most else nullcontext():
            await self._app(scope, receive, send)

    def _callers(self, scope: Scope) -> dict[str, str]:
        """Who asks, by key and by address; empty for what is not counted."""
        path = path_of(scope)
        if path in FREE or path.startswith("/static/"):
            return {}
        address = address_of(scope)
        access: Access = scope.get("access", STRANGER)
        if not access.controlled and is_here(address):
            return {}
        callers = {"address": client_of(address)}
        return callers if access.name is None else {"key": access.name, **callers}

    def _too_often(self, callers: dict[str, str], heavy: bool) -> Problem | None:
        limits = self._model if heavy else self._cheap
        for kind, who in callers.items():
            seconds = limits[kind].wait(who) if kind in limits else None
            if seconds is not None:
                what = "searches" if heavy else "requests"
                return _refuse(f"Too many {what} come from this {kind}; {_later(seconds)}.", seconds)
        return None

    def _charge(self, callers: dict[str, str], more: int) -> None:
        """A request that is as good as so many searches more. Raises Problem: they are too many (429)."""
        for kind, who in callers.items():
            if more and kind in self._model and (seconds := self._model[kind].wait(who, more)) is not None:
                raise _refuse(
                    f"A batch counts as the searches that it holds, and with these {more + 1} too many come "
                    f"from this {kind}; send fewer at once, or {_later(seconds)}.",
                    seconds,
                )

    def _too_many(self, callers: dict[str, str], what: str, most: int) -> Problem | None:
        if most and self._at_once[f"{what} {_first(callers)}"] >= most:
            kind = next(iter(callers))
            said = f"{most} {what} of this {kind} are under way, and no more may be; {_later(1)}."
            return _refuse(said, 1)
        return None

    @contextmanager
    def _counted(self, who: str) -> Iterator[None]:
        self._at_once[who] += 1
        try:
            yield
        finally:
            self._at_once[who] -= 1
            if not self._at_once[who]:
                del self._at_once[who]


def kind_of(scope: Scope) -> str:
    """What this request has a place for while it is answered; ``requests`` have none."""
    if needs_model(scope):
        return "searches"
    if is_upload(scope):
        return "uploads"
    if is_following(scope):
        return "streams"
    return "pages" if path_of(scope) == "/" else "requests"


def needs_model(scope: Scope) -> bool:
    """Whether this request may wait for a model.

    A search, a rerank, a question, captions, an explanation, or the page with a query or a picture.
    """
    path = path_of(scope)
    if path == "/":
        access: Access = scope.get("access", STRANGER)
        query = scope.get("query_string", b"")[:100_000].decode(
            "latin-1"
        )  # as bytes it would have to be ASCII
        return access.scope is not None and not {"q", "like"}.isdisjoint(parse_qs(query))
    wanted = MODEL if scope["method"] == "POST" else EXPLANATION
    if path in RERANKS:
        return bool(scope["method"] == "POST")
    return wanted.fullmatch(path) is not None


def _first(callers: dict[str, str]) -> str:
    """One name for the client: its key, else its address."""
    kind, who = next(iter(callers.items()))
    return f"{kind} {who}"


def _refuse(sentence: str, seconds: int) -> Problem:
    return Problem(429, sentence, headers={"Retry-After": str(seconds)})


def _later(seconds: int) -> str:
    return "ask again in a second" if seconds == 1 else f"ask again in {seconds} seconds"
