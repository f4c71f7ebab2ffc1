"""``/v1/local``: what a command on this machine asks before it sends anything."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import PartsHere
from sightline.api.local_caller import LocalCaller
from sightline.api.problems import Problem
from sightline.api.schemas.common import Answer

router = APIRouter(prefix="/v1", tags=["health"], route_class=ScopedRoute)


class LocalProof(Answer):
    """That this process wrote ``server.json``, and whether its model is loaded."""

    proof: str
    ready: bool


@router.get("/local", include_in_schema=False, openapi_extra=needs("open"))
async def prove(
    nonce: Annotated[str, Query(pattern=r"^[0-9a-f]{64}$", description="Random, of this connection.")],
    parts: PartsHere,
    request: Request,
    response: Response,
) -> LocalProof:
    """Prove to a client on this machine who this is: see docs/operations.md."""
    caller: LocalCaller = request.app.state.local_caller
    proof = caller.proof(request.scope, nonce)
    if proof is None:
        raise Problem(404, "There is nothing at this address.", code="no-such-address")
    response.headers["Cache-Control"] = "no-store"
    return LocalProof(proof=proof, ready=parts.model_status().ready)
