"""``/v1/collections/{name}/saved-searches``: questions that every picture is asked, and who fits."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated

import anyio
from fastapi import APIRouter, Header, Path, Query, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import Bounded, Name, PartsHere, problems
from sightline.api.followers import FollowerStream
from sightline.api.following import Following, Seen
from sightline.api.parts import ApiParts
from sightline.api.schemas.common import MAX_CURSOR
from sightline.api.schemas.saved import (
    ChangedSavedSearch,
    MemberAnswer,
    MemberList,
    NewSavedSearch,
    SavedSearchAnswer,
    SavedSearchList,
    SavedSecretAnswer,
    member_list,
    saved_answer,
    saved_secret_answer,
)
from sightline.store.saved_records import SavedMember

router = APIRouter(
    prefix="/v1/collections/{name}/saved-searches", tags=["saved searches"], route_class=ScopedRoute
)
Search = Annotated[str, Path(description="The saved search's name.", examples=["red-cars"]), Bounded]
EVENTS_AT_ONCE = 100
MEMBER_ID = r"^[0-9]{1,18}$"


@router.get("", responses=problems(404), openapi_extra=needs("read"))
def list_saved(name: Name, parts: PartsHere) -> SavedSearchList:
    """All saved searches of a collection."""
    return SavedSearchList(items=[saved_answer(one) for one in parts.saved_searches.every(name)])


@router.post("", status_code=201, responses=problems(404, 409, 422), openapi_extra=needs("write"))
def save(name: Name, body: NewSavedSearch, parts: PartsHere) -> SavedSecretAnswer:
    """Ask this of every picture from now on. Answers at once; those that are there are judged behind it."""
    told = body.webhook
    saved = parts.saved_searches.save(name, body.name, body.question, body.min_probability, told)
    return saved_secret_answer(saved.search, saved.secret)


@router.get("/{search}", responses=problems(404), openapi_extra=needs("read"))
def get_saved(name: Name, search: Search, parts: PartsHere) -> SavedSearchAnswer:
    """One saved search: how many fit, how many pictures are to be judged yet, how its webhook does."""
    return saved_answer(parts.saved_searches.one(name, search))


@router.put("/{search}", responses=problems(404, 422), openapi_extra=needs("write"))
def change_saved(name: Name, search: Search, body: ChangedSavedSearch, parts: PartsHere) -> SavedSecretAnswer:
    """Ask something else. Another text begins without members; a webhook that is given is tried again."""
    saved = parts.saved_searches.change(name, search, body.question, body.min_probability, body.told)
    return saved_secret_answer(saved.search, saved.secret)


@router.delete("/{search}", status_code=204, responses=problems(404), openapi_extra=needs("write"))
def remove_saved(name: Name, search: Search, parts: PartsHere) -> None:
    """Forget it and who fits; no picture is touched."""
    parts.saved_searches.remove(name, search)


@router.get("/{search}/members", responses=problems(404, 422), openapi_extra=needs("read"))
def list_members(
    name: Name,
    search: Search,
    parts: PartsHere,
    cursor: Annotated[
        str | None, Query(max_length=MAX_CURSOR, description="next_cursor of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> MemberList:
    """The pictures that fit, in the order of joining, page by page."""
    return member_list(parts.saved_searches.members(name, search, cursor, limit))


@router.get(
    "/{search}/events",
    response_class=EventSourceResponse,
    responses=problems(404, 422, 503),
    openapi_extra=needs("read"),
)
async def follow_saved(
    name: Name,
    search: Search,
    parts: PartsHere,
    request: Request,
    after: Annotated[
        str | None, Query(pattern=MEMBER_ID, description="A member's id; 0: from the first one on.")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(pattern=MEMBER_ID, description="Goes before `after`: what browsers send.")
    ] = None,
) -> EventSourceResponse:
    """Server-sent events: ``joined`` (a member) for each that joins from now on, or behind the id given."""
    saved = await run_in_threadpool(parts.saved_searches.one, name, search)
    given = last_event_id or after
    stops = anyio.Event()
    following: Following = request.app.state.following

    async def events() -> AsyncGenerator[ServerSentEvent]:
        last = None if given is None else int(given)
        look = partial(_look, parts, saved.id)
        async for seen in following.follow(f"saved {saved.id}", None, look, stops):
            if last is None:
                last = int(seen.text)
            while joined := await run_in_threadpool(_joined, parts, saved.id, last):
                for member in joined:
                    last = member.id
                    told = MemberAnswer.of_member(member).model_dump_json()
                    yield ServerSentEvent(told, event="joined", id=str(member.id))

    return FollowerStream(request, events(), stops)


def _look(parts: ApiParts, search_id: int, _: str) -> Seen | None:
    """Who joined last, for all followers; None when the saved search is gone."""
    last = parts.catalog.last_saved_member(search_id)
    return None if last is None else Seen(str(last), str(last), ended=False)


def _joined(parts: ApiParts, search_id: int, last: int) -> list[SavedMember]:
    return parts.catalog.saved_members_after(search_id, last, EVENTS_AT_ONCE)
