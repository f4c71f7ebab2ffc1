"""``sightline mcp``: a server of the Model Context Protocol over stdin and stdout."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from sightline.cli.options import Data
from sightline.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(mcp)


def mcp(
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", "-c", metavar="NAME", help="Only these; give it several times."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Offer the tools that change something, too: delete, restore.")
    ] = False,
    folder: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR", help="With --write: a folder that may be indexed; several times."),
    ] = None,
    data: Data = None,
) -> None:
    """Let an assistant search pictures: a server of the Model Context Protocol on stdin and stdout."""
    from sightline.integrations.mcp.opened import Opened
    from sightline.integrations.mcp.server import make_server
    from sightline.integrations.mcp.stdio import serve
    from sightline.processes.logs import log_json_lines
    from sightline.settings import load_settings
    from sightline.wiring import open_installation

    if folder and not write:
        raise InputError("The option --folder says what may be indexed; it needs --write.")
    settings = load_settings(data)
    log_json_lines(settings.log.level)
    with open_installation(settings, inline=True, create=False) as house:
        house.catalog.installation_id()  # NoCatalogError where nothing was indexed yet
        folders = tuple(os.path.abspath(one) for one in folder or ())
        opened = Opened(house, tuple(collection or ()), folders)
        for name in opened.names:
            opened.collection(name)
        serve(make_server(opened, writes=write), opened.stopping.set)
