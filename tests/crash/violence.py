"""Those who kill: processes every few seconds, servers now and then."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

from tests.crash.actors import Actor, FolderKeeper, Notes
from tests.crash.installation import LEASE_SECONDS, Installation, Role
from tests.crash.servers import Server

WAYS = {"SIGKILL": 4, "SIGSTOP": 3, "SIGTERM": 2}
FAULTS = {"ENOSPC": 1, "EIO": 1, "CLOCK": 1}
"""What happens to one process besides, below the shim: a full disk, one write that fails, a wrong clock."""
HOURS = 3 * 3600
WEIGHTS = {"worker": 2, "builder": 2, "api": 1}
INDEX_WEIGHT = 2
FoundWithin = Callable[[float], float | None]


class Killer(Actor):
    """Kills a process of the installation, or a run of ``index``, every ``every`` seconds on the average."""

    def __init__(
        self,
        seed: int,
        notes: Notes,
        installation: Installation,
        keeper: FolderKeeper,
        every: float,
        most: int,
        spared: float,
    ) -> None:
        super().__init__("killer", seed, notes)
        self._installation, self._keeper, self._every, self._most = installation, keeper, every, most
        self._spared = spared
        """Whoever is younger may be spared: a slow machine must get something done between two kills."""
        self.kills: Counter[str] = Counter()
        self.peace = threading.Lock()
        """Whoever holds it has nobody killed."""
        self._thawing: list[threading.Thread] = []

    def turn(self) -> None:
        self.ended.wait(self.random.uniform(0.4, 1.6) * self._every)
        roles = self._installation.roles
        weights = [WEIGHTS[role.kind] for role in roles]
        victim = self.random.choices([*roles, None], [*weights, INDEX_WEIGHT])[0]
        ways = WAYS | (FAULTS if self._installation.shims else {})
        way = self.random.choices([*ways], [*ways.values()])[0]
        seconds = self.random.uniform(0.3, 2.5) * LEASE_SECONDS
        began = self._keeper.began if victim is None else victim.began
        if time.monotonic() - began < self.random.uniform(0.0, 1.5) * self._spared:
            return
        with self.peace:
            if self.ended.is_set() or sum(self.kills.values()) >= self._most:
                return
            if victim is None:
                self._spoil("index", way, seconds) if way in FAULTS else self._kill_index(way, seconds)
            elif victim.lock.acquire(blocking=False):  # not one that is frozen
                victim.lock.release()
                self._kill(victim, way, seconds)

    def settle(self) -> None:
        """Nobody is frozen any more."""
        for thread in self._thawing:
            thread.join(timeout=60)
        for shim in self._installation.shims.values():
            shim.lift()

    def _kill(self, victim: Role, way: str, seconds: float) -> None:
        if way in FAULTS:
            self._spoil(victim.name, way, seconds)
        elif way == "SIGKILL":
            self._note(victim.name, way)
            self._installation.kill(victim)
        elif way == "SIGTERM":
            self._note(victim.name, way)
            self._installation.terminate(victim)
        else:
            self._note(victim.name, f"{way} for {seconds:.1f} s")
            self._later(lambda: self._freeze(victim, seconds))

    def _spoil(self, victim: str, way: str, seconds: float) -> None:
        shim = self._installation.shims[victim]
        if way == "EIO":
            nth = self.random.randint(1, 60)
            self._note(victim, f"{way} at write {nth}")
            shim.fail(errno.EIO, nth)
            return
        hours = self.random.choice([-HOURS, HOURS])
        self._note(victim, f"{way} {f'{hours:+d} s ' if way == 'CLOCK' else ''}for {seconds:.1f} s")

        def spoil() -> None:
            shim.fail(errno.ENOSPC, sticky=True) if way == "ENOSPC" else shim.shift_clock(hours)
            self.ended.wait(seconds)
            shim.lift()
            shim.shift_clock(0)

        self._later(spoil)

    def _freeze(self, victim: Role, seconds: float) -> None:
        with self._installation.frozen(victim):
            self.ended.wait(seconds)

    def _kill_index(self, way: str, seconds: float) -> None:
        process = self._keeper.process
        if process is None or process.poll() is not None:
            return
        if way == "SIGSTOP":
            self._note("index", f"{way} for {seconds:.1f} s")
            self._later(lambda: self._freeze_process(process.pid, seconds))
            return
        self._note("index", way)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.Signals[way])

    def _freeze_process(self, pid: int, seconds: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            try:
                self.ended.wait(seconds)
            finally:
                os.kill(pid, signal.SIGCONT)

    def _later(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._thawing.append(thread)
        time.sleep(0.05)

    def _note(self, victim: str, way: str) -> None:
        self.kills[f"{victim.partition('-')[0]} {way.split()[0]}"] += 1
        self.notes.say(f"kill {sum(self.kills.values())}: {victim} {way}")


class ServerKiller(Actor):
    """Takes a server away for a while; afterwards nobody is killed until all that was accepted is found."""

    BOUND_SECONDS = 60.0

    def __init__(
        self,
        seed: int,
        notes: Notes,
        servers: list[Server],
        killer: Killer,
        waits_for: FoundWithin,
        every: float,
    ) -> None:
        super().__init__("server-killer", seed, notes)
        self._servers, self._killer, self._every = servers, killer, every
        self._waits_for = waits_for
        self.outages = 0
        self.late = 0

    def turn(self) -> None:
        self.ended.wait(self.random.uniform(0.5, 1.5) * self._every)
        if self.ended.is_set():
            return
        server = self.random.choice(self._servers)
        way = self.random.choice(["killed", "frozen", "restarted"])
        seconds = self.random.uniform(2.0, 12.0)
        self.notes.say(f"server {server.name} {way}, away for {seconds:.1f} s")
        self.outages += 1
        if way == "frozen":
            server.freeze()
            self.ended.wait(seconds)
            server.thaw()
        else:
            server.kill() if way == "killed" else server.stop()
            self.ended.wait(seconds if way == "killed" else seconds / 4)
        server.start()
        with self._killer.peace:
            self._killer.settle()
            took = self._waits_for(self.BOUND_SECONDS)
        if took is None:
            self.late += 1
            self.notes.say(
                f"LATE not everything was found {self.BOUND_SECONDS:g} s after {server.name} came back"
            )
        else:
            self.notes.say(
                f"server {server.name} is back; all accepted pictures were found after {took:.1f} s"
            )
