"""``sightline mcp`` as a client starts it: a process that speaks the protocol on stdout and nothing else."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from mcp import Client, StdioServerParameters
from mcp_types import ContentBlock, ImageContent

from sightline.settings import Settings, environment
from tests.children import kill, read_line
from tests.integrations.conftest import BY_RED

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


def test_two_clients_are_answered_at_once_and_a_signal_ends_it_in_order(settings: Settings) -> None:
    """One is a client of the SDK; the server of the other is told to end while its stdin is open."""
    process = subprocess.Popen(
        [str(SCRIPT), "mcp"], env=variables(settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(HELLO).encode() + b"\n")
        process.stdin.flush()
        shown = asyncio.run(asyncio.wait_for(described(settings), 120))
        assert isinstance(shown, ImageContent)
        assert base64.b64decode(shown.data)[8:12] == b"WEBP"
        told = json.loads(read_line(process, 60))
        assert told["result"]["serverInfo"]["name"] == "sightline"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        rest, log = process.communicate(timeout=60)
        assert rest == b"", log
    finally:
        kill(process)


async def described(settings: Settings) -> ContentBlock:
    """The last that a server says of a picture, which is the picture."""
    server = StdioServerParameters(command=str(SCRIPT), args=["mcp"], env=variables(settings))
    async with Client(server) as client:
        assert (await client.list_tools()).tools
        return (await client.call_tool("describe", {"id": BY_RED[0], "write": False})).content[-1]
