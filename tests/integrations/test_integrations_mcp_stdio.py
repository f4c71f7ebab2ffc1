"""``sightline mcp`` as a client starts it: a process that speaks the protocol on stdout and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from sightline.settings import Settings, environment
from tests.children import kill, read_line
from tests.integrations.conftest import BY_RED, RED

SCRIPT = Path(sys.executable).parent / "sightline"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "a test", "version": "1"},
    },
}


def variables(settings: Settings) -> dict[str, str]:
    return {**os.environ, **environment(settings), "OMP_NUM_THREADS": "1"}


def test_two_clients_are_answered_at_once(settings: Settings) -> None:
    server = StdioServerParameters(command=str(SCRIPT), args=["mcp"], env=variables(settings))

    async def best() -> Any:
        async with Client(server) as client:
            return (await client.call_tool("search", {"query": RED, "k": 2})).structured_content

    async def both() -> list[Any]:
        return await asyncio.gather(best(), best())

    for found in asyncio.run(asyncio.wait_for(both(), 120)):
        assert [row["id"] for row in found["results"]] == BY_RED[:2]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, None])
def test_it_ends_in_order_with_its_client_or_by_a_signal(
    settings: Settings, end: signal.Signals | None
) -> None:
    process = subprocess.Popen(
        [str(SCRIPT), "mcp"], env=variables(settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(HELLO).encode() + b"\n")
        process.stdin.flush()
        told = json.loads(read_line(process, 60))
        assert told["result"]["serverInfo"]["name"] == "sightline"
        if end is not None:
            process.send_signal(end)
        rest, log = process.communicate(timeout=60)  # which closes stdin
        assert (process.returncode, rest) == (0, b""), log
    finally:
        kill(process)
