"""Forms: what strangers type is short, and uploads hold little, however their bodies are made."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import pairwise
from typing import Annotated
from urllib.parse import quote

import pytest
from fastapi import APIRouter, FastAPI, File, Form, UploadFile
from fastapi.testclient import TestClient
from starlette.types import Message, Scope

from sightline.api import problems
from sightline.api.bodies import Bodies, BoundedRoute
from sightline.api.forms import FORM_BYTES, PIECE, pieces
from sightline.api.settings import ApiSettings
from tests.api.installation import MakeClient, png, problem

MIB = 1 << 20
BOUND = 30
IMAGES = "/v1/collections/pictures/images"
URL_ENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=BB"


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    """One part of a multipart body."""
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--BB\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def app_with_forms(settings: ApiSettings) -> FastAPI:
    """``POST /login`` takes a form, ``POST /upload`` files; no middleware stands in front of them."""
    router = APIRouter(route_class=BoundedRoute)

    async def login(key: Annotated[str, Form()]) -> int:
        return len(key)

    async def upload(files: Annotated[list[UploadFile], File()], items: Annotated[str, Form()] = "") -> int:
        return len(files) + len(items)

    router.post("/login")(login)
    router.post("/upload")(upload)
    app = FastAPI()
    app.state.bodies = Bodies(settings)
    problems.install(app)
    app.include_router(router)
    return app


async def send(app: FastAPI, path: str, media: str, receive: Callable[[], AsyncIterator[bytes]]) -> int:
    """The status of the answer to a body that comes as ``receive`` brings it."""
    chunks, statuses = receive(), []

    async def next_chunk() -> Message:
        chunk = await anext(chunks, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "client": ("::1", 1),
        "headers": [(b"content-type", media.encode())], "server": ("localhost", 80),
    }  # fmt: skip
    await app(scope, next_chunk, answer)
    return int(statuses[0])


def test_a_form_without_files_is_read_no_further_than_its_limit() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield b"key="
        while taken < MIB:
            taken += 1024
            yield b"a" * 1024

    app = app_with_forms(ApiSettings())
    assert asyncio.run(send(app, "/login", URL_ENCODED, endless)) == 413
    assert taken <= FORM_BYTES + 1024


def test_strangers_send_no_files_and_nothing_that_takes_long(make_client: MakeClient) -> None:
    client = make_client(key="sesame")
    tiny = b"".join(part("f", b"d", "x") for _ in range(200)) + b"--BB--\r\n"
    assert len(tiny) < FORM_BYTES
    for body in (tiny, part("key", b"sesame") + b"--BB--\r\n"):
        answer = client.post("/session", content=body, headers={"Content-Type": MULTIPART})
        assert URL_ENCODED in problem(answer, 415)["detail"]
    for wrong in (b"key=" + b"%" * 10_000, b"key=50%", b"key=%zz"):
        answer = client.post("/session", content=wrong, headers={"Content-Type": URL_ENCODED})
        assert "percent-encoded" in problem(answer, 400)["detail"]


def test_any_key_of_a_thousand_characters_can_be_typed(make_client: MakeClient) -> None:
    for character in ("x", "%", "é", "\N{WHITE HEAVY CHECK MARK}", "\N{GRINNING FACE}"):
        key = character * 1000
        client = make_client(key=key)
        assert len(quote(key)) <= FORM_BYTES - len("key=")
        answer = client.post("/session", data={"key": key}, follow_redirects=False)
        assert answer.status_code == 303
        assert client.post("/session", data={"key": key[:-1]}).status_code == 401


def test_uploads_are_multipart(library: TestClient) -> None:
    for body in (b"files=a", b"&".join(b"f%d=" % number + b"%" * 1000 for number in range(19))):
        answer = library.post(IMAGES, content=body, headers={"Content-Type": URL_ENCODED})
        assert "multipart/form-data" in problem(answer, 415)["detail"]


def test_the_fields_of_an_upload_have_a_limit_together(filled: TestClient) -> None:
    files = [("files", ("a", png("red")))]
    said = problem(filled.post(IMAGES, files=files, data={"odd": ["x" * 100_000] * 11}), 413)
    assert "1,048,576 bytes, all together" in said["detail"]
    assert filled.post(IMAGES, files=files, data={"odd": ["x" * 50_000] * 11}).status_code == 202


@pytest.mark.parametrize("large", ["items", "files"])
def test_fields_and_files_to_ask_with_fill_no_more_memory_than_there_is_for_bodies(large: str) -> None:
    """Half-sent forms; files that are to be kept have places of their own."""
    limits = ApiSettings(max_bodies_bytes=MIB, max_body_bytes=MIB, max_json_bytes=MIB)
    app, clients, room = app_with_forms(limits), 5, 2
    sizes = {"files": 1, "items": 1} | {large: 400_000}
    body = part("files", b"x" * sizes["files"], "a") + part("items", b"x" * sizes["items"])

    async def everybody() -> list[int]:
        rest: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def half_sent() -> AsyncIterator[bytes]:
            yield body
            await rest
            yield b"--BB--\r\n"

        tasks = [asyncio.create_task(send(app, "/upload", MULTIPART, half_sent)) for _ in range(clients)]
        async with asyncio.timeout(BOUND):
            while sum(task.done() for task in tasks) < clients - room:
                await asyncio.wait(
                    [task for task in tasks if not task.done()], timeout=BOUND, return_when="FIRST_COMPLETED"
                )
            rest.set_result(None)
            return await asyncio.gather(*tasks)

    for _ in range(2):  # the second time: all was given back
        assert sorted(asyncio.run(everybody())) == [200] * room + [503] * (clients - room)


def cut(body: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The body in chunks of these sizes, over and over."""
    chunks, at, turn = [], 0, 0
    while at < len(body):
        chunks.append(body[at : at + sizes[turn % len(sizes)]])
        at, turn = at + len(chunks[-1]), turn + 1
    return chunks


@pytest.mark.parametrize("sizes", [(1,), (17, 3), (PIECE,), (PIECE + 1,), (5 * PIECE + 7,)])
def test_however_a_body_comes_it_is_parsed_in_few_pieces_and_others_have_turns_between(
    sizes: tuple[int, ...],
) -> None:
    body = random.Random(7).randbytes(5 * PIECE + 100)
    turns, seen, turns_at = 0, [], []

    async def others() -> None:
        nonlocal turns
        while turns < MIB:
            turns += 1
            await asyncio.sleep(0)

    async def at_once() -> AsyncIterator[bytes]:
        for chunk in cut(body, sizes):
            yield chunk

    async def scenario() -> None:
        other = asyncio.create_task(others())
        async for piece in pieces(at_once()):
            seen.append(piece)
            turns_at.append(turns)
        other.cancel()

    asyncio.run(scenario())
    assert b"".join(seen) == body
    assert [len(piece) for piece in seen] == [PIECE] * 5 + [100]
    assert all(before < after for before, after in pairwise(turns_at[:5]))
