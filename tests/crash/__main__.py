"""``make crash``: a real installation is killed for minutes while it is used; nothing may be lost.

    python -m tests.crash --minutes 10 --setup sqlite|postgres-redis|postgres-rabbitmq|all --seed 1
        --services --faults

One line for each kill, then what was done, then ``kept N lost N duplicated N phantom N``. The exit status is
0 when the last three are 0 and nothing came late. See docs/reliability.md.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.crash.installation import SETUPS
from tests.crash.run import Plan, run


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--setup", choices=[*SETUPS, "all"], default="sqlite")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--every", type=float, default=3.0, help="seconds between kills, on the average")
    parser.add_argument("--kills", type=int, default=100_000, help="at most so many")
    parser.add_argument("--services", action="store_true", help="kill, freeze and restart the servers too")
    parser.add_argument("--faults", action="store_true", help="let disks fail and clocks jump too")
    parser.add_argument("--keep", type=Path, help="an empty folder that is left behind")
    given = parser.parse_args(arguments)
    seed = random.randrange(10**6) if given.seed is None else given.seed
    setups = [*SETUPS] if given.setup == "all" else [given.setup]
    sound = True
    for setup in setups:
        plan = Plan(setup, given.minutes * 60, seed, given.every, given.kills, given.services, given.faults)
        folder = Path(given.keep or tempfile.mkdtemp(prefix="sightline-crash-")) / setup
        result = run(plan, folder, lambda line: print(line, flush=True))
        sound = sound and result.sound
        if given.keep is None and result.sound:
            shutil.rmtree(folder.parent)
        else:
            print(f"left in {folder}", file=sys.stderr)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
