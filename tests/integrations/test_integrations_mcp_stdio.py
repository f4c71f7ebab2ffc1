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


def start(settings: Settings) -> subprocess.Popen[bytes]:
    """A server of its own, which was greeted."""
    process = subprocess.Popen(
        [str(SCRIPT), "mcp"], env=variables(settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(HELLO).encode() + b"\n")
    process.stdin.flush()
    return process


def test_several_clients_are_answered_at_once_and_each_server_ends_in_order(settings: Settings) -> None:
    """One is a client of the SDK that searches; of the others' servers one is told to end, one is left."""
    server = StdioServerParameters(command=str(SCRIPT), args=["mcp"], env=variables(settings))

    async def best() -> Any:
        async with Client(server) as client:
            return (await client.call_tool("search", {"query": RED, "k": 2})).structured_content

    others = [start(settings) for _ in range(2)]
    try:
        found = asyncio.run(asyncio.wait_for(best(), 120))
        assert [row["id"] for row in found["results"]] == BY_RED[:2]
        for process in others:
            told = json.loads(read_line(process, 60))
            assert told["result"]["serverInfo"]["name"] == "sightline"
        others[0].send_signal(signal.SIGTERM)
        others[0].wait(timeout=60)  # its stdin is still open
        for process in others:
            rest, log = process.communicate(timeout=60)  # which closes stdin
            assert (process.returncode, rest) == (0, b""), log
    finally:
        for process in others:
            kill(process)


def test_no_model_is_loaded_before_somebody_asks() -> None:
    program = "import sightline.integrations.mcp.server, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    modules = set(done.stdout.split())
    assert "sightline.integrations.mcp.reading" in modules
    assert modules.isdisjoint({"torch", "transformers", "faiss"})
