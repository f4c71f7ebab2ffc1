"""``sightline adopt``."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.cli.opening import opened
from sightline.cli.options import Data, Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(adopt)


def adopt(
    yes: Annotated[
        bool, typer.Option("--yes", help="Take them over; without it they are only shown.")
    ] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Whose the folders of this installation are; with --yes, make them its own.

    For a catalog that was restored, or folders that came from elsewhere. Look before: from a folder that is
    taken over the builder removes what this catalog let go.
    """
    from sightline.cli.output import print_json
    from sightline.console import answers, remarks

    with opened(data) as services:
        if yes:
            services.folders.adopt()
        found = list(services.folders.look())
    if json:
        print_json(
            {
                "folders": [
                    {
                        "holds": one.holds,
                        "folder": str(one.folder),
                        "status": one.status,
                        "detail": one.detail,
                    }
                    for one in found
                ]
            }
        )
        return
    for one in found:
        answers().print(f"{one.holds}: {one.detail}", markup=False, soft_wrap=True)
    if not yes and any(one.problem for one in found):
        remarks().print("Nothing was changed; --yes takes them over.")
