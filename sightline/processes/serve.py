"""The HTTP server process."""

from __future__ import annotations

import resource
import signal
import socket
from typing import TYPE_CHECKING, NoReturn

from sightline.console import remarks
from sightline.errors import UnavailableError

if TYPE_CHECKING:
    from sightline.settings import Settings
    from sightline.wiring import Installation

OPEN_FILES = 1 << 16


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C. Models load in the background; /readyz tells when they have.

    Raises:
        UnavailableError: the address is in use or not ours.
        InputError: other machines reach the address, and nobody would be asked for a key.
    """
    from sightline.processes.exposure import check_exposure
    from sightline.processes.logs import log_json_lines
    from sightline.wiring import open_installation

    signal.signal(signal.SIGTERM, _end_at_once)
    raise_open_files()
    with listen(settings.api.host, settings.api.port) as listener:
        if warning := check_exposure(listener, settings):
            remarks().print(f"[yellow]{warning}[/]")
        log_json_lines(settings.log.level)
        with open_installation(settings) as services:
            serve_on(listener, services)


def raise_open_files() -> None:
    """As many as the system lets us have: each connection, and each file of an upload, is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _end_at_once(*_: object) -> NoReturn:
    """SIGTERM while nobody is served yet. The first process of a container would not even be ended by it."""
    raise SystemExit(0)


def serve_on(listener: socket.socket, services: Installation) -> None:
    """Serve an installation on a bound socket until SIGTERM or Ctrl-C."""
    from sightline.api.app import create_app
    from sightline.processes.announcing import announced, new_server
    from sightline.processes.stopping import StoppingServer

    services.warm_up.start()
    services.precision_watch.start()
    services.cascades.start()
    services.counts.samples.start()
    if services.settings.retriever.keep_queries:
        services.query_samples.start()
    services.resumption.start()
    settings = services.settings
    told = new_server(f"http://{address(listener)}", settings)
    app = create_app(services.api_parts, local_secret=told.secret)
    grace = settings.serving.grace_seconds
    server = StoppingServer(app, services.scheduler, grace, root_path=settings.api.root_path)
    # A signal that comes before uvicorn listens to signals must not be lost.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    with announced(told, settings):
        remarks().print(f"Sightline serves {told.url}")
        server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, because asyncio sends small packets at once only on sockets that name it; without
    # it every answer on a kept connection waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port."
        ) from error
    return listener


def address(listener: socket.socket) -> str:
    """``host:port`` as a browser on this machine wants it."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{shown}:{port}"
