"""``make fuzz``: mutated pictures through the decoder that everybody uses.

    python -m tests.imaging.fuzz --mutations 10000 --seed 1

Every one of them must become a picture or a rejection with a documented code, at no more than two seconds of
CPU and a gigabyte of memory, and only processes of the decoder may die. The last line says what came of it;
files that broke a rule are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sightline.errors import ImageRejected
from sightline.imaging import IsolatedDecoder, Limits
from tests.imaging.mutations import MOST_BYTES, mutated

CPU_SECONDS = 2.0
MEMORY_BYTES = 1 << 30
MOST_SECONDS = 24 * 3600.0
GROWTH_BYTES = 256 << 20
"""What the process that decodes nothing itself may grow by."""


@dataclass
class Tally:
    """What became of the files."""

    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    """A sentence for each file that broke a rule."""
    slowest: float = 0.0
    """CPU seconds."""
    largest: int = 0
    """Bytes of the largest decode process."""

    def __str__(self) -> str:
        codes = " ".join(f"{code} {count}" for code, count in self.outcomes.most_common())
        return (
            f"files {self.outcomes.total()} ({codes}) slowest {self.slowest:.2f} s of CPU "
            f"largest process {self.largest >> 20} MB rules broken {len(self.broken)}"
        )


class Fuzz:
    """One decoder with one process, asked by one thread."""

    def __init__(self, codes: frozenset[str], keep: Path | None = None) -> None:
        self.tally = Tally()
        self._decoder = IsolatedDecoder(Limits())
        self._codes, self._keep = codes, keep

    def close(self) -> None:
        self._decoder.close()

    def feed(self, name: str, data: bytes) -> None:
        """Decode one file and judge what came of it."""
        before = self._usage()
        problem = ""
        try:
            decoded = self._decoder.decode(data)
            outcome = "decoded"
            if decoded.rgb.shape[2] != 3 or not decoded.thumbnail:
                problem = f"an impossible picture {decoded.rgb.shape}"
        except ImageRejected as rejected:
            outcome = rejected.reason
            if outcome not in self._codes or not rejected.detail.endswith("."):
                problem = f"an undocumented rejection {rejected}"
        except Exception as error:
            outcome, problem = "error", f"{type(error).__name__}: {error}"
        self._judge(name, data, outcome, problem, before)

    def _judge(
        self, name: str, data: bytes, outcome: str, problem: str, before: tuple[int, float, int]
    ) -> None:
        pid, cpu, memory = self._usage()
        spent = cpu - before[1] if pid == before[0] else cpu if outcome == "decoded" else 0.0
        tally = self.tally
        tally.outcomes[outcome] += 1
        tally.slowest, tally.largest = max(tally.slowest, spent), max(tally.largest, memory)
        if spent > CPU_SECONDS:
            problem = problem or f"{spent:.1f} s of CPU"
        if memory > MEMORY_BYTES:
            problem = problem or f"{memory >> 20} MB"
            self._decoder.close()  # its peak is remembered for as long as it lives
            self._decoder = IsolatedDecoder(Limits())
        if problem:
            tally.broken.append(f"{name} ({len(data):,} bytes, {outcome}): {problem}")
            if self._keep is not None:
                (self._keep / f"{hashlib.sha256(data).hexdigest()[:16]}-{outcome}").write_bytes(data)

    def _usage(self) -> tuple[int, float, int]:
        """Process id, CPU seconds and peak memory of the decode process; zeros when there is none."""
        with suppress(psutil.Error, OSError, IndexError, ValueError):
            pid = self._decoder.pids()[0]
            times = psutil.Process(pid).cpu_times()
            status = Path(f"/proc/{pid}/status").read_text()
            peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
            return pid, times.user + times.system, peak
        return 0, 0.0, 0


def fuzz(
    seeds: Sequence[bytes],
    codes: frozenset[str],
    mutations: int,
    seed: int = 1,
    jobs: int = 1,
    keep: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Tally:
    """Feed so many mutations to ``jobs`` decoders side by side."""
    seeds = [data for data in seeds if 0 < len(data) <= MOST_BYTES]
    began = time.monotonic()

    def work(job: int) -> Tally:
        one = Fuzz(codes, keep)
        try:
            for number in range(job, mutations, jobs):
                one.feed(f"mutation {number} of seed {seed}", mutated(seeds, number, seed))
                if number % 1000 < jobs and job == 0:
                    say(f"{time.monotonic() - began:7.1f} {number} of {mutations}")
        finally:
            one.close()
        return one.tally

    own = psutil.Process(os.getpid())
    before = own.memory_full_info().uss
    with ThreadPoolExecutor(jobs, "fuzz") as pool:
        tallies = list(pool.map(work, range(jobs), timeout=MOST_SECONDS))
    whole = Tally(
        sum((one.outcomes for one in tallies), Counter()),
        [line for one in tallies for line in one.broken],
        max(one.slowest for one in tallies),
        max(one.largest for one in tallies),
    )
    grown = own.memory_full_info().uss - before
    if grown > GROWTH_BYTES:
        whole.broken.append(f"the process that decodes nothing grew by {grown >> 20} MB")
    return whole


def main(arguments: list[str]) -> int:
    from tests.imaging.seeds import documented_codes, seeds

    parser = argparse.ArgumentParser(prog="python -m tests.imaging.fuzz", description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    keep = Path(tempfile.mkdtemp(prefix="sightline-fuzz-"))
    tally = fuzz(
        seeds(), documented_codes(), given.mutations, given.seed, given.jobs, keep,
        lambda line: print(line, flush=True),
    )  # fmt: skip
    for line in tally.broken:
        print(f"BROKEN {line}")
    print(tally)
    if tally.broken:
        print(f"left in {keep}", file=sys.stderr)
    else:
        keep.rmdir()
    return int(bool(tally.broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
