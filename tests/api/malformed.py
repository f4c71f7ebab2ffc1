"""Requests that no client should send, over raw sockets, to a server in a process of its own.

``python -m tests.api.malformed [--requests 20000] [--seed 0]``: prints the statuses, and the memory of the
server after a quarter of them and after all.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.hostile_bodies import toy_server
from tests.api.malformed_requests import request

AT_ONCE = 16
QUIET_SECONDS = 0.1
"""After this long without an answer the client stops sending: the request was not whole."""
BOUND_SECONDS = 30.0
STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")


@dataclass
class Heard:
    """What the server said: how many of each status (0: nothing but a closed connection)."""

    statuses: Counter[int] = field(default_factory=Counter)
    errors: list[tuple[int, bytes]] = field(default_factory=list)
    """Server errors that no document knows, with their requests."""


def send_all(port: int, requests: Sequence[bytes]) -> Heard:
    """Send them, some at once, each over a connection of its own."""
    heard = Heard()

    async def everything() -> None:
        waiting = iter(requests)
        await asyncio.gather(*(_sender(port, waiting, heard) for _ in range(AT_ONCE)))

    asyncio.run(everything())
    return heard


async def _sender(port: int, waiting: Iterator[bytes], heard: Heard) -> None:
    for text in waiting:
        answer = await asyncio.wait_for(_exchange(port, text), BOUND_SECONDS)
        found = [int(code) for code in STATUS.findall(answer)] or [0]
        heard.statuses.update(found)
        heard.errors += [(code, text) for code in found if code >= 500 and code != 503]


async def _exchange(port: int, text: bytes) -> bytes:
    """All that the server says to this, until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    with suppress(ConnectionError):
        writer.write(text)
        await writer.drain()
        with suppress(TimeoutError):
            said = await asyncio.wait_for(reader.read(1 << 16), QUIET_SECONDS)
        if writer.can_write_eof():
            writer.write_eof()
        said += await reader.read()
    writer.close()
    return said


def memory(pid: int) -> float:
    """Megabytes that the server holds."""
    return float(psutil.Process(pid).memory_info().rss) / (1 << 20)


def attack(port: int, pid: int, number: int, seed: int, parts: int = 4) -> tuple[Heard, list[float]]:
    """So many requests in some parts; what was heard, and the server's memory after each part."""
    chance, heard, held = random.Random(seed), Heard(), []
    for _ in range(parts):
        one = send_all(port, [request(chance) for _ in range(number // parts)])
        heard.statuses += one.statuses
        heard.errors += one.errors
        held.append(memory(pid))
    return heard, held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, toy_server(Path(place)) as server:
        heard, held = attack(server.port, server.pid, given.requests, given.seed)
    print(f"{given.requests:,} requests: {dict(sorted(heard.statuses.items()))}")
    print("memory after each quarter:", ", ".join(f"{megabytes:.0f} MB" for megabytes in held))
    for code, text in heard.errors[:20]:
        print(code, text[:500])
    raise SystemExit(1 if heard.errors else 0)


if __name__ == "__main__":
    main()
