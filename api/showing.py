"""Who is shown what of the machine behind the API, decided for each request once it is known who asks."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from sightline.api.access import STRANGER, Access
from sightline.api.auth import is_for_this_machine
from sightline.api.discretion import Shown, shown
from sightline.api.settings import ApiSettings


class Discretion:
    """ASGI middleware behind the Guard: decides for each request what its caller is shown."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            access: Access = scope.get("access", STRANGER)
            uris = self._settings.show_uris or access.is_local
            shown.set(Shown(self._sees_details(access), uris))
        await self._app(scope, receive, send)

    def _sees_details(self, access: Access) -> bool:
        """Whoever runs this server: an admin of all, a command of this machine that proved itself, or, where
        no key is needed, who sits at this machine.
        """
        if self._settings.show_details or access.is_local:
            return True
        if access.controlled:
            return access.may("admin") and access.collections is None
        return is_for_this_machine(self._settings)
