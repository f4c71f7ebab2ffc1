"""The command line. Every command calls the same public functions that a program would.

Exit codes: 0 done, 1 partly failed or inconsistent, 2 bad input, 3 not found, 4 conflict, 5 unavailable.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from typing import NoReturn

import typer

from sightline.cli import (
    adoption,
    backup,
    browse,
    cache,
    demo,
    diagnose,
    indexing,
    keys,
    learning,
    processes,
    searching,
    trash,
)
from sightline.cli.output import OK, exit_code, print_error
from sightline.console import prepare_streams
from sightline.errors import SightlineError
from sightline.store.patience import having
from sightline.store.storage import storage_error

QUICK = frozenset({"search", "rerank", "collections", "jobs", "keys", "ping"})
"""Commands whose answer somebody waits for: no longer for a database that hangs than over HTTP."""

app = typer.Typer(
    name="sightline",
    help="Find pictures in words: BLIP-2 retrieval, reranked by image-text matching.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
MODULES = (
    demo,
    indexing,
    searching,
    browse,
    trash,
    keys,
    processes,
    cache,
    diagnose,
    backup,
    adoption,
    learning,
)
for module in MODULES:
    module.register(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave the process with its exit code."""
    # For every Python that a command starts, also those that libraries start: nothing is imported from the
    # current folder.
    os.environ["PYTHONSAFEPATH"] = "1"
    prepare_streams()
    code = run(sys.argv[1:] if arguments is None else arguments)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command; errors become one sentence and an exit code here, and nowhere else.

    Typer answers for usage errors (2), Ctrl-C (130) and a closed pipe by itself.
    """
    hurried = any(name in QUICK for name in arguments[:1])
    try:
        with having("request" if hurried else "work"):
            app(args=list(arguments), prog_name="sightline")
    except SightlineError as error:
        print_error(error, as_json="--json" in arguments)
        return exit_code(error)
    except OSError as error:
        full = storage_error(error, str(error.filename or tempfile.gettempdir()))
        if full is None:
            raise
        print_error(full, as_json="--json" in arguments)
        return exit_code(full)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else OK
    return OK
