"""What a request may do, and what a route needs: said once where the route stands, enforced here for all.

A route says ``openapi_extra=needs("read")``; its router has ``route_class=ScopedRoute``. An application
with a route that says nothing is not made (`check_declared`). The question is answered before a body is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

from fastapi import Request
from starlette.routing import BaseRoute
from starlette.types import Message, Receive, Scope, Send

from sightline.api.audit import note_write
from sightline.api.bodies import BoundedRoute
from sightline.api.problems import Problem
from sightline.errors import NotFoundError
from sightline.store.access import KeyScope, includes

Needed = Literal["open", "read", "write", "admin"]
PLAIN: Final[dict[str, Needed]] = {"/openapi.json": "read", "/static": "open"}
"""Routes of the framework's own kinds; the guard in front of all routes asks for any key, or none."""
_MARK: Final = "x-sightline-needs"
_EVERYWHERE: Final = "x-sightline-all-collections"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks. ``name``: the key's, None without one. ``scope``: None for a stranger, who may nothing.

    ``collections``: the names that the key is bound to; None: all. ``controlled``: whether keys are asked for
    at all. ``key_id``: of a key that the catalog has. ``is_local``: a command of this machine.
    """

    name: str | None
    scope: KeyScope | None
    collections: frozenset[str] | None = None
    controlled: bool = True
    key_id: str | None = None
    is_local: bool = False

    def may(self, wanted: KeyScope) -> bool:
        """Whether the scope is enough."""
        return self.scope is not None and includes(self.scope, wanted)

    def sees(self, collection: str) -> bool:
        """Whether a collection of this name is there for this key."""
        return self.collections is None or collection in self.collections

    def among(self) -> Sequence[str] | None:
        """The names that it is bound to, None for all: as the catalog is asked."""
        return None if self.collections is None else sorted(self.collections)

    def require(self, wanted: KeyScope) -> None:
        """403 unless the scope is enough."""
        if not self.may(wanted):
            raise Problem(
                403, f"This needs a key with the scope '{wanted}'; the key {self.name} has '{self.scope}'."
            )

    def require_all(self) -> None:
        """403 for a key that is bound to collections."""
        if self.collections is not None:
            raise Problem(403, f"This needs a key for all collections; the key {self.name} is bound to some.")

    def require_collection(self, name: str) -> None:
        """404, as of a collection that does not exist, for one that the key is not for."""
        if not self.sees(name):
            hidden(f"There is no collection {name!r}.")


OPEN: Final = Access(None, "admin", None, controlled=False)
"""Nobody asks for keys: everybody may everything."""
STRANGER: Final = Access(None, None, frozenset())


def hidden(sentence: str) -> NoReturn:
    """Says of what a key is not for what is said of what does not exist."""
    raise NotFoundError(sentence)


def access_of(request: Request) -> Access:
    """Who asks; whoever reaches a route without having passed the guard is a stranger."""
    access: Access = request.scope.get("access", STRANGER)
    return access


def needs(scope: Needed, *, everywhere: bool = False) -> dict[str, Any]:
    """For ``openapi_extra`` of a route: the scope; ``everywhere``: of a key for all collections."""
    ways: list[dict[str, list[str]]] = [{}, {"key": [scope]}, {"session": [scope]}]
    more = {_EVERYWHERE: True} if everywhere else {}
    return {_MARK: scope, "security": [] if scope == "open" else ways, **more}


class ScopedRoute(BoundedRoute):
    """A route that answers only who may ask it, and leaves an audit line of every write."""

    def __init__(self, path: str, endpoint: Any, **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        said = self.openapi_extra or {}
        self.needed: Needed | None = said.get(_MARK)
        self.everywhere = bool(said.get(_EVERYWHERE))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the framework's, for who may."""
        if scope["method"] not in (self.methods or ()) or self.needed == "open":
            await super().handle(scope, receive, send)
        elif self.needed == "read" or scope["method"] in SAFE:
            self._check(scope)
            await super().handle(scope, receive, send)
        else:
            await self._write(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        access: Access = scope.get("access", STRANGER)
        assert self.needed is not None
        assert self.needed != "open"
        access.require(self.needed)
        if self.everywhere:
            access.require_all()
        name = scope["path_params"].get("name")
        if name is not None:
            access.require_collection(name)

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        """With an audit line, whatever comes of it."""
        status = 500

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            self._check(scope)
            await super().handle(scope, receive, seen)
        except Problem as problem:
            status = problem.status
            raise
        except NotFoundError:
            status = 404
            raise
        finally:
            note_write(scope, f"{scope['method']} {self.path_format}", status)


def routes_of(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """All routes, those of included routers too."""
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is None:
            yield route
        else:
            yield from routes_of(router.routes)


def check_declared(routes: Iterable[BaseRoute]) -> None:
    """RuntimeError for a route that does not say who may ask it: our mistake, found before it serves."""
    for route in routes_of(routes):
        path = getattr(route, "path", repr(route))
        declared = route.needed if isinstance(route, ScopedRoute) else PLAIN.get(path)
        if declared is None:
            raise RuntimeError(f"The route {path} does not say which scope it needs.")
