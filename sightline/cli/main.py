"""The command line. Every command calls the same public functions that a program would.

Exit codes: 0 done, 1 partly failed or inconsistent, 2 bad input, 3 not found, 4 conflict, 5 unavailable.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from sightline.cli import (
    adoption,
    asking,
    backup,
    browse,
    cache,
    calibrate,
    captions,
    demo,
    diagnose,
    duplicates,
    evaluating,
    generations,
    indexing,
    keys,
    learning,
    mcp,
    processes,
    saved,
    searching,
    similar,
    texts,
    trash,
    watching,
)
from sightline.cli.output import OK, answer_fault, exit_code, print_error
from sightline.console import prepare_streams
from sightline.errors import SightlineError
from sightline.store.patience import having
from sightline.store.storage import storage_error

QUICK = frozenset({"search", "similar", "rerank", "ask", "collections", "jobs", "keys", "ping", "mcp"})
"""Commands whose answer somebody waits for: no longer for a database that hangs than over HTTP."""

app = typer.Typer(
    name="sightline",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
MODULES = (
    demo,
    indexing,
    watching,
    searching,
    similar,
    asking,
    duplicates,
    captions,
    texts,
    browse,
    saved,
    trash,
    keys,
    processes,
    mcp,
    cache,
    calibrate,
    generations,
    diagnose,
    backup,
    adoption,
    learning,
    evaluating,
)


def _print_version(value: bool) -> None:
    if value:
        from sightline.version import __version__

        sys.stdout.write(f"sightline {__version__}\n")
        raise typer.Exit


@app.callback()
def sightline(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Find pictures in words: BLIP-2 retrieval, reranked by image-text matching."""


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
    code = _ended(arguments)
    fault = answer_fault()
    return code if fault is None else _told(fault, as_json=False)


def _ended(arguments: Sequence[str]) -> int:
    hurried, as_json = any(name in QUICK for name in arguments[:1]), "--json" in arguments
    try:
        with having("request" if hurried else "work"):
            app(args=list(arguments), prog_name="sightline")
    except SightlineError as error:
        return _told(error, as_json=as_json)
    except OSError as error:
        fault = answer_fault(lost=True) if error.filename is None else None
        if fault is not None:
            return _told(fault, as_json=False)
        full = storage_error(error, str(error.filename or tempfile.gettempdir()))
        if full is None:
            raise
        return _told(full, as_json=as_json)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else OK
    return OK


def _told(error: SightlineError, *, as_json: bool) -> int:
    print_error(error, as_json=as_json)
    return exit_code(error)
