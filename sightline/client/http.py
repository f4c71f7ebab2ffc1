"""``Client`` and ``AsyncClient``: the same methods, one waiting, one awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

import httpx

from sightline.client import catalog, searches
from sightline.client.calls import Call, Json, as_json, unreadable
from sightline.client.refusals import refusal
from sightline.errors import DeadlineError, InputError, UnavailableError

Given = ParamSpec("Given")
Result = TypeVar("Result")
TIMEOUT: Final = 60.0
"""Seconds that an answer may take; a search waits for the model behind others."""
LOOK_SECONDS: Final = 0.5
"""How often a job is looked at."""
NO_URL: Final = "The url of a server reads like http://127.0.0.1:8000."
ENDED: Final = frozenset({"done", "cancelled", "failed"})
"""States of a job that has ended."""


def _waiting(describe: Callable[Given, Call[Result]]) -> Callable[Concatenate[Client, Given], Result]:
    def method(self: Client, /, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        return self.send(describe(*args, **kwargs))

    method.__name__, method.__doc__ = describe.__name__, describe.__doc__
    return method


def _awaited(
    describe: Callable[Given, Call[Result]],
) -> Callable[Concatenate[AsyncClient, Given], Coroutine[Any, Any, Result]]:
    async def method(self: AsyncClient, /, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        return await self.send(describe(*args, **kwargs))

    method.__name__, method.__doc__ = describe.__name__, describe.__doc__
    return method


class Client:
    """Speaks to the server at ``url``; a context manager. Thread-safe.

    ``key``: as `sightline keys create` shows it; it is sent as a bearer token, to this address only, and
    never shown. ``timeout``: seconds that an answer may take. ``transport``: httpx's, for retries say.

    Every method raises the errors of `sightline.errors`, with the server's own sentence: `InputError` for
    what it does not understand or allow, `NotFoundError`, `ConflictError`, `UnavailableError` also where
    nobody answers.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = TIMEOUT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = checked_url(url)
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers_with(key),
            timeout=timeout,
            transport=transport,
            mounts=no_proxies(self.url),
        )

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def send(self, call: Call[Result]) -> Result:
        """The answer to a call of `sightline.client.searches` or `sightline.client.catalog`."""
        try:
            return answer(call, self._http.send(request_for(call, self._http)), self.url)
        except httpx.HTTPError as error:
            raise unreached(error, self.url) from error

    search = _waiting(searches.search)
    search_batch = _waiting(searches.search_batch)
    similar = _waiting(searches.similar)
    rerank = _waiting(searches.rerank)
    ask = _waiting(searches.ask)
    collections = _waiting(catalog.collections)
    collection = _waiting(catalog.collection)
    create = _waiting(catalog.create)
    image = _waiting(catalog.image)
    image_bytes = _waiting(catalog.image_bytes)
    thumbnail = _waiting(catalog.thumbnail)
    upload = _waiting(catalog.upload)
    index = _waiting(catalog.index)
    delete = _waiting(catalog.delete)
    delete_collection = _waiting(catalog.delete_collection)
    jobs = _waiting(catalog.jobs)
    job = _waiting(catalog.job)
    cancel = _waiting(catalog.cancel)
    retry = _waiting(catalog.retry)
    ready = _waiting(catalog.ready)

    def images(
        self, collection: str, *, filter: Mapping[str, Any] | None = None, page: int = 500
    ) -> Iterator[Json]:
        """Every image, oldest first; asks for ``page`` of them at a time."""
        cursor: str | None = None
        while True:
            found = self.send(catalog.images_page(collection, cursor, page, filter))
            yield from found["items"]
            cursor = after(cursor, found)
            if cursor is None:
                return

    def wait_for(self, job_id: str, *, timeout: float | None = None) -> Json:
        """The job when it has ended, whatever came of it. Raises DeadlineError after ``timeout`` seconds."""
        until = _end_of(timeout)
        while (found := self.job(job_id))["state"] not in ENDED:
            _check_time(until, job_id)
            time.sleep(LOOK_SECONDS)
        return found


class AsyncClient:
    """As `Client`, with methods to await; an asynchronous context manager."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = TIMEOUT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = checked_url(url)
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=headers_with(key),
            timeout=timeout,
            transport=transport,
            mounts=no_proxies(self.url),
        )

    def __repr__(self) -> str:
        return f"AsyncClient({self.url!r})"

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def send(self, call: Call[Result]) -> Result:
        """The answer to a call of `sightline.client.searches` or `sightline.client.catalog`."""
        try:
            return answer(call, await self._http.send(request_for(call, self._http)), self.url)
        except httpx.HTTPError as error:
            raise unreached(error, self.url) from error

    search = _awaited(searches.search)
    search_batch = _awaited(searches.search_batch)
    similar = _awaited(searches.similar)
    rerank = _awaited(searches.rerank)
    ask = _awaited(searches.ask)
    collections = _awaited(catalog.collections)
    collection = _awaited(catalog.collection)
    create = _awaited(catalog.create)
    image = _awaited(catalog.image)
    image_bytes = _awaited(catalog.image_bytes)
    thumbnail = _awaited(catalog.thumbnail)
    upload = _awaited(catalog.upload)
    index = _awaited(catalog.index)
    delete = _awaited(catalog.delete)
    delete_collection = _awaited(catalog.delete_collection)
    jobs = _awaited(catalog.jobs)
    job = _awaited(catalog.job)
    cancel = _awaited(catalog.cancel)
    retry = _awaited(catalog.retry)
    ready = _awaited(catalog.ready)

    async def images(
        self, collection: str, *, filter: Mapping[str, Any] | None = None, page: int = 500
    ) -> AsyncIterator[Json]:
        """Every image, oldest first; asks for ``page`` of them at a time."""
        cursor: str | None = None
        while True:
            found = await self.send(catalog.images_page(collection, cursor, page, filter))
            for one in found["items"]:
                yield one
            cursor = after(cursor, found)
            if cursor is None:
                return

    async def wait_for(self, job_id: str, *, timeout: float | None = None) -> Json:
        """The job when it has ended, whatever came of it. Raises DeadlineError after ``timeout`` seconds."""
        until = _end_of(timeout)
        while (found := await self.job(job_id))["state"] not in ENDED:
            _check_time(until, job_id)
            await asyncio.sleep(LOOK_SECONDS)
        return found


def checked_url(url: str) -> str:
    """The address of a server, without a slash at its end. Raises InputError: it cannot be one."""
    try:
        parts = urlsplit(url)
        _ = parts.port, httpx.URL(url)
    except (ValueError, TypeError, AttributeError, httpx.InvalidURL) as error:
        raise InputError(NO_URL) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InputError(NO_URL)
    if parts.username is not None:
        raise InputError("Give the key as key=…; no part of the url is kept secret.")
    return url.rstrip("/")


def no_proxies(url: str) -> dict[str, None] | None:
    """What keeps a client from the environment's proxies where ``url`` is on this machine's loopback.

    None of them could reach what is meant, and all would be given the key.
    """
    host = urlsplit(url).hostname or ""
    is_here = host == "localhost" or host.endswith(".localhost")
    with suppress(ValueError):
        is_here = ip_address(host).is_loopback
    return {"http://": None, "https://": None, "all://": None} if is_here else None


def after(cursor: str | None, found: Json) -> str | None:
    """Where the next page begins. Raises UnavailableError: where this one did, so that there is no end."""
    following: str | None = found.get("next_cursor")
    if following is not None and following == cursor:
        raise unreadable("next_cursor")
    return following


def headers_with(key: str | None) -> dict[bytes, bytes]:
    """What proves the caller. Raises InputError: no key has such letters."""
    if key is None:
        return {}
    if not isinstance(key, str) or not key.strip() or not key.isprintable():
        raise InputError("The key is empty or has letters that no header can hold; give it as it was shown.")
    return {b"Authorization": b"Bearer " + key.strip().encode()}


def request_for(call: Call[Any], client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
    """A call as httpx sends it."""
    files = [("files", (name, data)) for name, data in call.files]
    if call.body is not None:
        headers = {"Content-Type": "application/json"}
        return client.build_request(call.method, call.path, content=as_json(call.body), headers=headers)
    return client.build_request(call.method, call.path, data=dict(call.form) or None, files=files or None)


def answer(call: Call[Result], response: httpx.Response, url: str) -> Result:
    """What was answered. Raises what the server's problem document stands for."""
    if call.is_answered_by(response.status_code):
        return call.parse(response.content)
    raise refusal(response.status_code, response.content, url)


def unreached(error: httpx.HTTPError, url: str) -> UnavailableError:
    """Nobody answers, or nobody answered in time."""
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
        return DeadlineError(f"The server at {url} did not answer in time; give a longer timeout.")
    return UnavailableError(f"The server at {url} cannot be reached ({type(error).__name__}: {error}).")


def _end_of(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout


def _check_time(until: float, job_id: str) -> None:
    if time.monotonic() >= until:
        raise DeadlineError(f"The job {job_id} has not ended in time; it goes on.")
