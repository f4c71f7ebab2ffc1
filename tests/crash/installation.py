"""A real installation: the processes that ``sightline`` starts, on a catalog and a broker of a set-up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sightline.indexer.settings import BrokerSettings
from sightline.serving.settings import ModelSettings
from sightline.settings import Settings
from sightline.wiring import open_installation
from tests.crash.servers import Postgres, RabbitMQ, Redis, Server
from tests.crash.shim import Shim
from tests.services import free_port

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 2.0
STOP_SECONDS = 25.0
SETTINGS = {
    "MODEL__NAME": "toy",
    "INDEXER__BATCH_SIZE": "4",
    "INDEXER__LEASE_SECONDS": str(LEASE_SECONDS),
    "BUILDER__LEASE_SECONDS": str(LEASE_SECONDS),
    "BUILDER__INTERVAL_SECONDS": "0.3",
    "BUILDER__RESEND_SECONDS": "3",
    "BUILDER__REST_SECONDS": "2",
    "BUILDER__FOLD_MIN_IMAGES": "20",
    "BUILDER__FOLD_IDLE_SECONDS": "2",
    "BUILDER__MERGE_AT_LEAST": "4",
    "BUILDER__CLEAN_SECONDS": "2",
    "BUILDER__ORPHAN_SECONDS": "20",
    "BUILDER__RETIRED_SECONDS": "10",
    "BUILDER__RELEASED_SECONDS": "15",
    "BUILDER__STALE_REGISTRATION_SECONDS": "30",
}
"""Everything happens soon: leases of 2 s, and a builder that folds, merges and cleans all the time."""
SETUPS: dict[str, tuple[type[Server], ...]] = {
    "sqlite": (),
    "postgres-redis": (Postgres, Redis),
    "postgres-rabbitmq": (Postgres, RabbitMQ),
}


@dataclass
class Role:
    """One process of the installation, started again whenever it ends."""

    name: str
    words: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    """When it was started last (monotonic)."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held by whoever kills or starts it."""

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]


class Installation:
    """The processes; ``say`` is told what they do that nobody asked for."""

    def __init__(self, setup: str, folder: Path, say: Callable[[str], None], **settings: str) -> None:
        self.folder = folder
        self.say = say
        self.port = free_port()
        self.servers = [kind(folder / kind.name) for kind in SETUPS[setup]]
        self._settings = SETTINGS | settings
        workers = ["worker-1"] if setup == "sqlite" else ["worker-1", "worker-2"]
        self.roles = [Role(name, ("worker",)) for name in workers]
        self.roles += [Role("builder", ("builder",)), Role("api", ("serve", "--port", str(self.port)))]
        self.shims: dict[str, Shim] = {}
        """Of single roles: see ``shimmed``."""
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="watcher")
        (folder / "logs").mkdir(parents=True)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def settings(self) -> Settings:
        """For a look at it from this process."""
        urls = {isinstance(server, Postgres): server.url for server in self.servers}
        model, broker = ModelSettings(name="toy"), BrokerSettings(urls.get(False, BrokerSettings().url))
        return Settings(data=self.data, database_url=urls.get(True, ""), model=model, broker=broker)

    def environment(self, role: str = "") -> dict[str, str]:
        """Of a process of this installation."""
        variables = {f"SIGHTLINE_{name}": value for name, value in self._settings.items()}
        variables["SIGHTLINE_DATA"] = str(self.data)
        variables["OMP_NUM_THREADS"] = "1"
        shim = self.shims[role].environment if role in self.shims else {}
        for server in self.servers:
            name = "DATABASE_URL" if isinstance(server, Postgres) else "BROKER__URL"
            variables[f"SIGHTLINE_{name}"] = server.url
        return os.environ | variables | shim

    def shimmed(self) -> dict[str, Shim]:
        """Have every process started below a shim of its own; to be called before the first is."""
        self.shims = {name: Shim(self.folder / f"shim-{name}") for name in (*self.names(), "index")}
        for shim in self.shims.values():
            shim.watch(self.data)
        return self.shims

    def names(self) -> list[str]:
        """Of the roles."""
        return [role.name for role in self.roles]

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "sightline", *words]

    def __enter__(self) -> Installation:
        for server in self.servers:
            server.start()
        with open_installation(self.settings()) as services:
            services.catalog.collections()  # migrated, before they all want to be the first
        for role in self.roles:
            self.start(role)
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._watcher.join(timeout=10)
        for role in self.roles:
            if role.process is not None and role.process.poll() is None:
                role.process.kill()
                role.process.wait(timeout=20)
        for server in self.servers:
            server.kill()

    def start(self, role: Role) -> None:
        with role.lock, self.log(role.name).open("ab") as log:
            role.began = time.monotonic()
            role.process = subprocess.Popen(
                self.command(*role.words), cwd=ROOT, env=self.environment(role.name), stdout=log, stderr=log
            )

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    # --- violence ---------------------------------------------------------------------------------

    def kill(self, role: Role) -> None:
        """With -9, and start another one."""
        with role.lock:
            assert role.process is not None
            role.process.kill()
            role.process.wait(timeout=20)
            self.start(role)

    def terminate(self, role: Role) -> None:
        """As whoever upgrades does it. One that does not go is killed."""
        with role.lock:
            assert role.process is not None
            role.process.send_signal(signal.SIGTERM)
            try:
                status = role.process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.say(f"slow {role.name} did not stop in {STOP_SECONDS:g} s after SIGTERM; killed")
                role.process.kill()
                status = role.process.wait(timeout=20)
            if status not in (0, -signal.SIGKILL, -signal.SIGTERM):
                self.say(f"odd {role.name} ended with {status} after SIGTERM")
            self.start(role)

    @contextlib.contextmanager
    def frozen(self, role: Role) -> Iterator[None]:
        """Stopped, as by a machine that swaps, and going on afterwards."""
        with role.lock:
            assert role.process is not None
            role.process.send_signal(signal.SIGSTOP)
            try:
                yield
            finally:
                role.process.send_signal(signal.SIGCONT)

    def _watch(self) -> None:
        """Start again what ended by itself, as every supervisor does."""
        while not self._ended.wait(0.5):
            for role in self.roles:
                if not role.lock.acquire(blocking=False):
                    continue
                try:
                    status = None if role.process is None else role.process.poll()
                    if status is not None and not self._ended.is_set():
                        self.say(f"ended {role.name} by itself with {status}; started again")
                        self.start(role)
                finally:
                    role.lock.release()


def wait_until(true: Callable[[], bool], seconds: float, pause: float = 0.25) -> float | None:
    """How long it took; None when it never became true."""
    began = time.monotonic()
    deadline = began + seconds
    while not true():
        if time.monotonic() > deadline:
            return None
        time.sleep(pause)
    return time.monotonic() - began
