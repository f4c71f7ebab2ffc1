"""Runs commands as the script ``sightline`` does, each in a fork of one interpreter.

The interpreter has imported the large libraries, which cost more than what most commands do, and nothing of
ours. For each line on its stdin, a JSON list ``[OUTPUT, ERRORS, *words]``, it writes the exit code of the
command whose streams went to these two files. ``NOBODYS`` is a name that only the working folder has: a
command at whose end it can be imported has let that folder in, and exits with ``LET_IN``.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from importlib.machinery import PathFinder
from typing import NoReturn

LIBRARIES = ("torch", "faiss", "sqlalchemy.orm", "pydantic_settings", "typer", "rich.console")
NOBODYS = "usercustomize"
LET_IN = 99


def main() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else every child walks through all of it, and copies the pages
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(*json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(output: str, errors: str, *words: str) -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), stream)
    code = 1
    try:
        from sightline.cli.main import main as sightline

        sightline(words)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.exit(LET_IN if PathFinder.find_spec(NOBODYS) else code)


if __name__ == "__main__":
    main()
