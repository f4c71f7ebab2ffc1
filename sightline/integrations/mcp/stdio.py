"""The server over stdin and stdout, until the client closes its end or a signal ends this process.

A thread that waits for a line of stdin cannot be interrupted, so it is none of those that have to end: it
passes bytes on to a socket, and whatever ends the server closes that.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing import TextIO

    from mcp.server import Server

PIECE: Final = 1 << 16


def serve(server: Server[Any], on_end: Callable[[], None]) -> None:
    """Until stdin ends, SIGTERM or Ctrl-C; ``on_end`` is called before calls in hand are waited for."""
    asyncio.run(_serve(server, on_end))


async def _serve(server: Server[Any], on_end: Callable[[], None]) -> None:
    import anyio
    from mcp.server.stdio import stdio_server

    with _stoppable_input(on_end) as lines:
        async with stdio_server(stdin=anyio.wrap_file(lines)) as (read, write):
            await server.run(read, write, server.create_initialization_options())


@contextmanager
def _stoppable_input(on_end: Callable[[], None]) -> Iterator[TextIO]:
    """The lines of stdin, which end early when a signal comes."""
    ours, theirs = socket.socketpair()

    def end() -> None:
        on_end()
        with suppress(OSError):
            ours.shutdown(socket.SHUT_RDWR)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows: there they end the process as they do by default
            loop.add_signal_handler(number, end)
    passing = threading.Thread(target=_pass_on, args=(_own_stdin(), ours), daemon=True, name="stdin")
    passing.start()
    with theirs, theirs.makefile("r", encoding="utf-8", errors="replace", newline="\n") as lines:
        yield lines


def _own_stdin() -> int:
    """Stdin for us alone: what this process starts reads from nowhere."""
    own, nowhere = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    return own


def _pass_on(source: int, sink: socket.socket) -> None:
    with suppress(OSError):  # the other end is closed
        while piece := os.read(source, PIECE):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
