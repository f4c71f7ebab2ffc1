"""``/v1/keys``: who may use the API. For admins whose key is for all collections."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from sightline.api.access import ScopedRoute, access_of, needs
from sightline.api.auth import Gatekeeper
from sightline.api.dependencies import Bounded, PartsHere, problems
from sightline.api.problems import Problem, from_error
from sightline.api.schemas.keys import KeyList, MadeKey, NewKey, RevokedKey, key_answer
from sightline.errors import UnavailableError
from sightline.store.access import end_of, lacks_admin
from sightline.store.issuing import issue

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=ScopedRoute)
ADMIN = needs("admin", everywhere=True)
KeyName = Annotated[str, Path(description="The key's name.", examples=["kiosk"]), Bounded]
HERE_ONLY = (
    "The key is revoked in this process only, until it is restarted, for that could not be written: revoke "
    "it again when it can."
)
LAST = "No admin's key is left: `sightline keys create NAME --scope admin` on the server's machine makes one."


@router.post("", status_code=201, responses=problems(403, 409, 422, 503), openapi_extra=ADMIN)
def create_key(body: NewKey, parts: PartsHere, request: Request, response: Response) -> MadeKey:
    """Make a key (201). Its secret is in this answer, and nowhere else; once there is a key, all need one.

    So the first one has to be an admin's for all collections, where the server's settings have none.
    """
    request.scope["subject"] = body.name
    seconds, until = (None, None) if body.expires is None else end_of(body.expires)
    gatekeeper = _gatekeeper(request)
    own = gatekeeper.has_own
    made, secret = issue(
        parts.catalog, body.name, body.scope, body.collections, seconds, until, has_other=own
    )
    gatekeeper.keyring.forget()
    response.headers["Cache-Control"] = "no-store"
    return MadeKey.of(made, key=secret)


@router.get("", responses=problems(403), openapi_extra=ADMIN)
def list_keys(
    parts: PartsHere,
    revoked: Annotated[bool, Query(description="Also those that are revoked.")] = False,
) -> KeyList:
    """All keys, without their secrets."""
    return KeyList(items=[key_answer(key) for key in parts.catalog.keys(revoked=revoked)])


@router.delete("/{key}", responses=problems(403, 404, 503, 507), openapi_extra=ADMIN)
def revoke_key(key: KeyName, parts: PartsHere, request: Request) -> RevokedKey:
    """Revoke a key: at once here, within a second in other processes. It ends its sessions, too.

    Where that cannot be written (503, 507), this process refuses the key all the same, until it ends.
    """
    gatekeeper = _gatekeeper(request)
    try:
        gone = parts.catalog.revoke_key(key)
    except UnavailableError as error:
        if not gatekeeper.keyring.refuse(key):
            raise
        problem = from_error(error)
        raise Problem(
            problem.status, f"{HERE_ONLY} {problem.detail}", code=problem.code, headers=problem.headers
        ) from error
    gatekeeper.keyring.forget()
    is_last = not gatekeeper.has_own and lacks_admin(parts.catalog.known_keys())
    assert gone.revoked_at is not None
    return RevokedKey.of(gone, remark=LAST if is_last and access_of(request).controlled else None)


def _gatekeeper(request: Request) -> Gatekeeper:
    gatekeeper: Gatekeeper = request.app.state.gatekeeper
    return gatekeeper
