"""``make soak``: an installation in use for minutes must end as it began.

    python -m tests.soak --minutes 10 --setup sqlite|postgres-redis|postgres-rabbitmq

16 clients search, five pictures are added each second and one of a hundred deleted, two visitors look at the
page. The last line says what came of it; the exit status is 0 when there was no error, every answer was right
and of one generation, memory and open files stayed flat, and the 99th percentile within twice its start.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.crash.installation import SETUPS
from tests.soak.run import Plan, run


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--setup", choices=[*SETUPS], default="sqlite")
    parser.add_argument("--searchers", type=int, default=16)
    given = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="sightline-soak-"))
    plan = Plan(given.minutes * 60, searchers=given.searchers, setup=given.setup)
    result = run(plan, folder / given.setup, lambda line: print(line, flush=True))
    if result.is_right and result.is_as_fast:
        shutil.rmtree(folder)
        return 0
    print(f"left in {folder}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
