"""However many follow a job, it is looked at once for all of them, and everybody sees how it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import ExitStack

import httpx
import pytest
from fastapi.testclient import TestClient

from sightline.api.following import Following, Seen
from sightline.api.server import running
from sightline.errors import UnavailableError
from tests.api.installation import MakeClient, png, problem

BOUND = 60
FOLLOWERS = 50


class Job:
    """One that has one state more at each look, but for looks that fail."""

    def __init__(self, states: int, fail_at: tuple[int, ...] = ()) -> None:
        self._states = states
        self._fail_at = fail_at
        self.looks: Counter[str] = Counter()

    def look(self, job_id: str) -> Seen | None:
        self.looks[job_id] += 1
        number = self.looks[job_id]
        if number in self._fail_at:
            raise UnavailableError("The database is away.")
        return Seen(f"state {number}", f"state {number // 2}", number >= self._states)


def run(main: object) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main(), BOUND)  # type: ignore[operator]

    asyncio.run(bounded())


async def texts(following: Following, job_id: str, job: Job, stops: asyncio.Event) -> list[str]:
    return [seen.text async for seen in following.follow(job_id, "", job.look, stops)]


def test_a_job_is_looked_at_once_for_all_and_all_see_its_end() -> None:
    job, following = Job(9), Following(0.01)

    async def main() -> None:
        stops = asyncio.Event()
        told = await asyncio.gather(
            *(texts(following, name, job, stops) for name in ("a", "b") for _ in range(FOLLOWERS))
        )
        assert {seen[-1] for seen in told} == {"state 9"}
        assert all(len(seen) <= 6 for seen in told)  # five states, and the end of the last

    run(main)
    assert job.looks == {"a": 9, "b": 9}


def test_a_catalog_that_is_away_for_a_moment_ends_no_stream() -> None:
    job = Job(6, fail_at=(1, 3))

    async def main() -> None:
        assert (await texts(Following(0.01), "a", job, asyncio.Event()))[-1] == "state 6"

    run(main)


def test_streams_end_when_the_server_stops_or_the_job_is_gone() -> None:
    job, following = Job(10**9), Following(0.01)

    async def main() -> None:
        stops = asyncio.Event()
        waiting = asyncio.create_task(texts(following, "a", job, stops))
        gone = Following(0.01).follow("b", "", lambda _: None, stops)
        assert [seen async for seen in gone] == []
        stops.set()
        await waiting

    run(main)


def test_nobody_looks_when_nobody_follows() -> None:
    job, following = Job(10**9), Following(0.001)

    async def main() -> None:
        stream = following.follow("a", "", job.look, asyncio.Event())
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        before = job.looks["a"]
        await asyncio.sleep(0.05)
        assert job.looks["a"] == before
        assert await texts(following, "a", Job(1), asyncio.Event()) == ["state 1"]  # and again when asked

    run(main)


def test_followers_beyond_the_limit_are_told_to_come_again(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(max_followers=2)
    client.post("/v1/collections", json={"name": "pictures"})
    sent = client.post("/v1/collections/pictures/images", files=[("files", ("a", png("red")))])
    assert isinstance(client, TestClient)
    with running(client.app) as url, ExitStack() as stack:  # type: ignore[arg-type]
        address = url + sent.json()["job"]["events_url"]
        first, lines = ExitStack(), []
        for holder in (first, stack):
            stream = holder.enter_context(httpx.stream("GET", address, timeout=BOUND))
            lines.append(stream.iter_lines())  # closed with its stream, were it not kept
            assert next(lines[-1]) == "event: progress"
        with httpx.stream("GET", address, timeout=BOUND) as refused:
            assert refused.status_code == 503
            refused.read()
        assert problem(refused, 503)["type"].endswith(":overloaded")
        assert int(refused.headers["retry-after"]) > 0
        said = [line for line in caplog.records if line.levelno >= logging.WARNING]
        assert [(line.getMessage(), line.exc_info) for line in said] == [(refused.json()["detail"], None)]
        first.close()
        deadline = time.monotonic() + BOUND
        while True:
            with httpx.stream("GET", address, timeout=BOUND) as again:
                if again.status_code == 200:
                    break
            assert time.monotonic() < deadline
