"""One soak run: an installation in use for minutes, and whether it stayed as it was at the start."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.crash.client import Client
from tests.crash.installation import Installation, wait_until
from tests.crash.run import answers
from tests.soak.oracle import Oracle
from tests.soak.users import COLLECTION, Keeper, Record, Searcher, User, Visitor
from tests.soak.watch import Watch

READY_SECONDS = 240.0
SETTLE_SECONDS = 120.0
MEMORY_FACTOR, MEMORY_BYTES = 1.25, 64 << 20
"""A process may grow by so much from the middle of a run to its end: with the collection, not with time."""
MORE_FILES = 40
SLOWER = 2.0
"""How much the 99th percentile may grow from the start of a run to its end."""
Say = Callable[[str], None]
SETTINGS = {
    "INDEXER__BATCH_SIZE": "16",
    "INDEXER__LEASE_SECONDS": "30",
    "BUILDER__LEASE_SECONDS": "30",
    "BUILDER__INTERVAL_SECONDS": "2",
    "BUILDER__FOLD_MIN_IMAGES": "100",
    "BUILDER__ORPHAN_SECONDS": "60",
}


@dataclass(frozen=True)
class Plan:
    """How long, and by how many."""

    seconds: float
    searchers: int = 16
    visitors: int = 2
    setup: str = "sqlite"
    at_first: int = 300
    """Pictures that are there before it begins."""


@dataclass(frozen=True)
class Result:
    """``first_ms`` and ``last_ms``: the 99th percentiles of searches in the first and in the last third."""

    searches: int
    errors: int
    wrong: int
    first_ms: float
    last_ms: float
    grown: tuple[str, ...]
    """What grew with time: memory or open files, a sentence each."""
    unindexed: bool
    """Whether something that was accepted was not found in the end."""

    @property
    def is_right(self) -> bool:
        """Everything but speed: what holds on a machine that does other things, too."""
        return not (self.errors or self.wrong or self.grown or self.unindexed)

    @property
    def is_as_fast(self) -> bool:
        return self.last_ms <= SLOWER * self.first_ms

    def __str__(self) -> str:
        ratio = self.last_ms / self.first_ms if self.first_ms else 0.0
        return (
            f"searches {self.searches} errors {self.errors} wrong {self.wrong} "
            f"p99 {self.first_ms:.0f} ms at the start {self.last_ms:.0f} ms at the end ({ratio:.2f}x) "
            f"grown {len(self.grown)}"
        )


def run(plan: Plan, folder: Path, say: Say) -> Result:
    """Do it in an empty folder; ``say`` is given every line."""
    began = time.monotonic()

    def tell(line: str) -> None:
        say(f"{time.monotonic() - began:7.1f} {line}")

    restarts: list[str] = []
    installation = Installation(plan.setup, folder, restarts.append, **SETTINGS)
    with installation:
        assert wait_until(lambda: answers(Client(installation.port, COLLECTION)), READY_SECONDS) is not None
        record, oracle = Record(tell), Oracle()
        keeper = Keeper("keeper", installation.port, record, oracle)
        _fill(keeper, installation.port, plan.at_first)
        users: list[User] = [keeper]
        users += [Searcher(f"searcher-{n}", installation.port, record, oracle) for n in range(plan.searchers)]
        users += [Visitor(f"visitor-{n}", installation.port, record) for n in range(plan.visitors)]
        watch = Watch(installation, max(plan.seconds / 60, 0.5))
        record.began = time.monotonic()
        for each in (watch, *users):
            each.start()
        _pass_time(plan, record, watch, tell)
        for user in users:
            user.ended.set()
        for user in users:
            user.leave()
        watch.stop()
        settled = wait_until(lambda: _is_complete(installation.port, record), SETTLE_SECONDS)
    for line in restarts:
        record.error(line)
    result = _result(plan, record, watch, installation, settled is None)
    for what, count in sorted(record.counts.items()):
        tell(f"did {count} {what}")
    for sentence in result.grown:
        tell(f"GREW {sentence}")
    say(str(result))
    return result


def _fill(keeper: Keeper, port: int, number: int) -> None:
    """A collection that is in use already."""
    for _ in range(number // 50):
        keeper.add(50)
    took = wait_until(lambda: len(Client(port, COLLECTION).images()) >= number, SETTLE_SECONDS, pause=1.0)
    assert took is not None, "the first pictures were never indexed"


def _is_complete(port: int, record: Record) -> bool:
    """Whether all that was added and not deleted is listed."""
    wanted = record.counts["pictures added"] - record.counts.get("pictures deleted", 0)
    return len(Client(port, COLLECTION).images()) == wanted


def _pass_time(plan: Plan, record: Record, watch: Watch, tell: Say) -> None:
    """Until it is over, with a line now and then."""
    end = time.monotonic() + plan.seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 30.0))
        recent = [ms for at, ms in record.latencies if at > time.monotonic() - record.began - 30]
        median, worst = np.percentile(recent or [0.0], [50, 99])
        latest = {one.role: one for one in watch.samples}
        memory = " ".join(f"{name} {one.resident >> 20} MB {one.files} files" for name, one in latest.items())
        tell(
            f"searches {len(record.latencies)} p50 {median:.0f} ms p99 {worst:.0f} ms "
            f"errors {record.errors} wrong {record.wrong} | {memory}"
        )


def _result(plan: Plan, record: Record, watch: Watch, installation: Installation, unindexed: bool) -> Result:
    third = plan.seconds / 3
    first = [ms for at, ms in record.latencies if at < third]
    last = [ms for at, ms in record.latencies if at >= 2 * third]
    grown = []
    for name in installation.names():
        before, after = watch.halves(name, "resident")
        if after > MEMORY_FACTOR * before + MEMORY_BYTES:
            grown.append(f"{name}: memory from {before >> 20} to {after >> 20} MB")
        before, after = watch.halves(name, "files")
        if after > before + MORE_FILES:
            grown.append(f"{name}: open files from {before} to {after}")
    return Result(
        searches=len(record.latencies),
        errors=record.errors,
        wrong=record.wrong,
        first_ms=float(np.percentile(first or [0.0], 99)),
        last_ms=float(np.percentile(last or [0.0], 99)),
        grown=tuple(grown),
        unindexed=unindexed,
    )
