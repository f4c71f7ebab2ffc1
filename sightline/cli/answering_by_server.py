"""Lets the running server of the data folder answer, whose model is loaded: seconds less for each command.

Only answers that are whole count. Whatever else happens (no server, another program on its port, another
version, other settings, a refusal, no place in its queue), the command goes on by itself as if there were no
server, and says in its own words what is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from sightline.client.calls import Call
    from sightline.records import SearchRequest, SearchResponse
    from sightline.running_server import RunningServer
    from sightline.settings import Settings

Result = TypeVar("Result")
MOST_PICTURE = 40 << 20
"""Bytes of a picture that a server's largest body has room for."""

Local = Annotated[
    bool, typer.Option("--local", help="Load the model here, even where a server of this folder runs.")
]


def answered_by_server(settings: Settings, call: Call[Result]) -> Result | None:
    """The answer of the data folder's running server; None where this process has to answer by itself."""
    from sightline.errors import SightlineError

    server = _server_of(settings)
    if server is None:
        return None
    from sightline.client.local import LocalServer

    try:
        with LocalServer(server) as connection:
            return connection.send(call)
    except SightlineError:
        return None


def found_by_server(
    settings: Settings, request: SearchRequest, image: Path | None, *, local: bool
) -> SearchResponse | None:
    """As `answered_by_server`, of a search; ``image``: the file that it asks with."""
    if local or _server_of(settings) is None:
        return None
    from sightline.client.searches import asked

    picture = None if image is None else _picture(image, settings.imaging.max_bytes)
    if image is not None and picture is None:
        return None
    return answered_by_server(settings, asked(request, picture))


def _server_of(settings: Settings) -> RunningServer | None:
    """The one that would answer as this process does, by what it says of itself; it has yet to prove it."""
    from sightline.processes.announcing import answering
    from sightline.running_server import found_in, is_same
    from sightline.version import __version__

    server = found_in(settings.data_folder)
    if server is None or server.version != __version__:
        return None
    return server if is_same(server.settings, answering(settings, server.secret)) else None


def _picture(path: Path, most: int) -> bytes | None:
    """Its bytes; None for what cannot be read, or not be sent."""
    most = min(most, MOST_PICTURE)
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError:
        return None
    return data if 0 < len(data) <= most else None
