"""Runs several commands in one process, as ``sightline`` would run each: an interpreter takes long to start.

Arguments are commands, each after the word ``--next``; its exit code follows its answer, on both streams.
"""

from __future__ import annotations

import sys
import traceback
from itertools import groupby

from sightline.cli.main import run
from sightline.console import prepare_streams

NEXT = "--next"
BREAK = "\x1e"


def main() -> None:
    prepare_streams()
    for is_next, words in groupby(sys.argv[1:], NEXT.__eq__):
        if is_next:
            continue
        try:
            code = run(list(words))
        except BaseException:
            traceback.print_exc()
            code = 1
        for stream in (sys.stdout, sys.stderr):
            print(f"{BREAK}{code}{BREAK}", end="", file=stream, flush=True)


if __name__ == "__main__":
    main()
