"""PostgreSQL, Redis and RabbitMQ of our own, which may be killed, frozen and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.services import _postgres_binaries, free_port

START_SECONDS = 60.0
RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class Server:
    """One server process and its children, on a port that it keeps over restarts."""

    name = "server"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def answers(self) -> bool:
        """Whether it is usable, not only listening."""
        raise NotImplementedError

    def start(self) -> None:
        """Until it answers. What holds a new one up after a kill (a dead one's children) is tried again."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                with (self.folder / "log").open("ab") as log:
                    self._process = subprocess.Popen(
                        self.command(), cwd="/", env=os.environ | self.environment(), stdout=log, stderr=log
                    )
            assert time.monotonic() < deadline, f"{self.name} does not start; see {self.folder / 'log'}"
            time.sleep(0.1)

    def kill(self) -> None:
        """With all that it has started."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self._process is not None:
            self._process.wait(timeout=START_SECONDS)

    def freeze(self) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def stop(self) -> None:
        """In an orderly way, as for an upgrade; killed when that takes too long."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=20)
        self.kill()

    def processes(self) -> list[psutil.Process]:
        """The server first, so that it cannot start others while they are being signalled."""
        if self._process is None or self._process.poll() is not None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        return []

    def _answers(self) -> bool:
        alive = self._process is not None and self._process.poll() is None
        return alive and self.answers()


class Postgres(Server):
    """Not as root, which it refuses to be."""

    name = "postgres"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        binaries = _postgres_binaries()
        if binaries is None:
            raise SystemExit("PostgreSQL is not installed.")
        self._binaries = binaries
        self._user: list[str] = []
        if os.geteuid() == 0:
            self._user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(folder, "postgres")
            for parent in list(folder.parents)[:4]:
                if parent.stat().st_uid == 0 and parent != Path("/"):
                    parent.chmod(parent.stat().st_mode | 0o055)
        create = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust"]
        subprocess.run(
            [*self._user, *create, "-E", "UTF8", "--no-sync"],
            check=True, capture_output=True, timeout=120, cwd="/",
        )  # fmt: skip

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> Sequence[str]:
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", str(self.folder)]
        server = str(self._binaries / "postgres")
        return [*self._user, server, "-D", str(self.folder / "data"), "-p", str(self.port), *options]

    def answers(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.Error:
            return False


class Redis(Server):
    """Keeps nothing: who kills it loses every message."""

    name = "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        if binary is None:
            raise SystemExit("redis-server is not installed.")
        memory = ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        return [binary, "--port", str(self.port), "--bind", "127.0.0.1", *memory]

    def answers(self) -> bool:
        import redis

        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
                return bool(client.ping())
        except (redis.RedisError, OSError):
            return False


class RabbitMQ(Server):
    """A node of its own beside the machine's; the port of Erlang's name server is shared."""

    name = "rabbitmq"

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def command(self) -> Sequence[str]:
        if not RABBIT.exists():
            raise SystemExit("RabbitMQ is not installed.")
        return [str(RABBIT)]

    def environment(self) -> dict[str, str]:
        own = {"MNESIA_BASE": "mnesia", "LOG_BASE": "logs", "ENABLED_PLUGINS_FILE": "plugins",
               "PID_FILE": "pid", "CONFIG_FILE": "none", "ADVANCED_CONFIG_FILE": "none",
               "CONF_ENV_FILE": "none"}  # fmt: skip
        numbers = {
            "NODENAME": f"sightline-crash-{self.port}@localhost",
            "NODE_IP_ADDRESS": "127.0.0.1",
            "NODE_PORT": str(self.port),
            "DIST_PORT": str(self.port + 20_000),
            "LOGS": "-",
        }
        paths = {name: str(self.folder / path) for name, path in own.items()}
        return {f"RABBITMQ_{name}": value for name, value in (paths | numbers).items()} | {
            "HOME": str(self.folder)
        }

    def answers(self) -> bool:
        from kombu.connection import Connection
        from kombu.exceptions import OperationalError

        try:
            with Connection(self.url, connect_timeout=2) as connection:  # type: ignore[no-untyped-call]
                connection.connect()
        except (OSError, OperationalError):
            return False
        return True
