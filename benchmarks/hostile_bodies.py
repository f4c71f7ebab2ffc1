"""What hostile bodies cost a server: CPU seconds, peak memory, and how long ``/livez`` waits meanwhile.

``python -m benchmarks.hostile_bodies --out after.json [--before before.json] [--only NAME …]``. Every body
goes to ``sightline serve`` (the toy model) in a process of its own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from benchmarks.http_client import Server, running_server
from sightline.settings import Settings

MB = 1 << 20
SECONDS = 300.0
SEARCH, RERANK = "/v1/collections/pictures/search", "/v1/rerank"
RESTORE, JOBS = "/v1/collections/pictures/trash/restore", "/v1/collections/pictures/jobs"
UPLOAD = "/v1/collections/pictures/images"
FORM = "multipart/form-data; boundary=b"


@dataclass(frozen=True)
class Attack:
    """One request body, made when its turn comes."""

    path: str
    body: Callable[[], bytes]
    media: str = "application/json"


@dataclass(frozen=True)
class Cost:
    """What one body did to the server. ``status`` 0: no answer came within the time."""

    status: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    livez_seconds: float


def listed(head: str, item: str, size: int, tail: str = "]}") -> bytes:
    """``head`` and as many ``item`` as make ``size`` bytes."""
    return (head + ",".join([item] * (size // (len(item) + 1))) + tail).encode()


def named(head: str, size: int, tail: str = "}") -> bytes:
    """``head`` and as many different fields as make ``size`` bytes."""
    return (head + ",".join(f'"f{number:07}":0' for number in range(size // 13)) + tail).encode()


def _items(text: str) -> bytes:
    parts = [b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n']
    parts.append(b'--b\r\nContent-Disposition: form-data; name="items"\r\n\r\n' + text.encode() + b"\r\n")
    return b"".join([*parts, b"--b--\r\n"])


CLAUSE = '{"field":"id","equals":"a"}'
ATTACKS: Mapping[str, Attack] = {
    "documents, 2 MB of zeros": Attack(RERANK, lambda: listed('{"query":"a","documents":[', "0", 2 * MB)),
    "documents, 8 MB of zeros": Attack(RERANK, lambda: listed('{"query":"a","documents":[', "0", 8 * MB)),
    "documents, 60 MB of []": Attack(RERANK, lambda: listed('{"query":"a","documents":[', "[]", 60 * MB)),
    "documents, 60 MB in one": Attack(
        RERANK,
        lambda: b'{"query":"a","documents":[{"image":"data:image/png;base64,' + b"A" * (60 * MB) + b'"}]}',
    ),
    "filter, 1 MB of conditions": Attack(
        SEARCH, lambda: listed('{"text":"a","filter":{"must":[', CLAUSE, MB - 100, "]}}")
    ),
    "filter, 10 MB of conditions": Attack(
        SEARCH, lambda: listed('{"text":"a","filter":{"must":[', CLAUSE, 10 * MB, "]}}")
    ),
    "filter, 1 MB of numbers": Attack(
        SEARCH, lambda: listed('{"text":"a","filter":{"field":"a","in":[', "1", MB - 100, "]}}")
    ),
    "brackets, 1 MB": Attack(SEARCH, lambda: b"[" * (MB - 1)),
    "unknown fields, 1 MB": Attack(SEARCH, lambda: named('{"text":"a",', MB - 100)),
    "unknown fields, 10 MB": Attack(SEARCH, lambda: named('{"text":"a",', 10 * MB)),
    "ids, 1 MB of zeros": Attack(RESTORE, lambda: listed('{"ids":[', "0", MB - 100)),
    "ids, 10^6": Attack(RESTORE, lambda: listed('{"ids":[', '"a"', 4 * MB)),
    "sources, 10 MB": Attack(JOBS, lambda: listed('{"sources":[', '"a"', 10 * MB)),
    "items, 1 MB of zeros": Attack(UPLOAD, lambda: _items("[" + "0," * (MB // 2 - 100) + "0]"), FORM),
    "items, 10 MB of zeros": Attack(UPLOAD, lambda: _items("[" + "0," * (5 * MB) + "0]"), FORM),
    "metadata of items, 1 MB": Attack(
        UPLOAD, lambda: _items(named('[{"metadata":{', MB - 200, "}}]").decode()), FORM
    ),
    "fields of a form, 1 MB": Attack(
        "/session", lambda: b"a&" * (MB // 2), "application/x-www-form-urlencoded"
    ),
    "one text, 10 MB": Attack(SEARCH, lambda: b'{"text":"' + b"a" * (10 * MB) + b'"}'),
}


@contextmanager
def toy_server(folder: Path) -> Iterator[Server]:
    """A server of an empty toy installation with one collection."""
    empty = Settings(data=folder / "data")
    settings = empty.model_copy(update={"model": replace(empty.model, name="toy")})
    with (folder / "log").open("wb") as log, running_server(settings, log) as server:
        ask(server.port, Attack("/v1/collections", lambda: b'{"name":"pictures"}'))
        yield server


def ask(port: int, attack: Attack, seconds: float = SECONDS) -> int:
    """Send it; the status, 0 when none came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    body = attack.body()
    try:
        connection.putrequest("POST", attack.path)
        connection.putheader("Content-Type", attack.media)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        with suppress(BrokenPipeError, ConnectionResetError):  # it was refused before it was whole
            connection.send(body)
        answer = connection.getresponse()
        answer.read()
    except OSError:
        return 0
    else:
        return answer.status
    finally:
        connection.close()


def cost(server: Server, attack: Attack) -> Cost:
    """Send one body, and look at the server meanwhile."""
    process = psutil.Process(server.pid)
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak counts from here
    base, began_cpu, began = process.memory_info().rss, sum(process.cpu_times()[:2]), time.perf_counter()
    statuses: list[int] = []
    sender = threading.Thread(target=lambda: statuses.append(ask(server.port, attack)))
    sender.start()
    slowest = 0.0
    while sender.is_alive():
        slowest = max(slowest, _livez(server.port))
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    cpu = sum(process.cpu_times()[:2]) - began_cpu
    return Cost(statuses[0], round(seconds, 3), round(cpu, 2), round(_peak(server.pid) - base / MB, 1),
                round(slowest, 3))  # fmt: skip


def _livez(port: int) -> float:
    """Seconds until it answered, or until nobody waited any longer."""
    asked = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with suppress(OSError):
        connection.request("GET", "/livez")
        connection.getresponse().read()
    connection.close()
    return time.perf_counter() - asked


def _peak(pid: int) -> float:
    """Megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def measure(names: list[str]) -> dict[str, Cost]:
    """Each attack against a server of its own: none inherits the memory of another."""
    found = {}
    for name in names:
        with tempfile.TemporaryDirectory() as place, toy_server(Path(place)) as server:
            ask(server.port, Attack(ATTACKS[name].path, lambda: b"{}"))  # validators are made at first use
            found[name] = cost(server, ATTACKS[name])
            print(name, found[name], file=sys.stderr, flush=True)
    return found


def table(after: Mapping[str, Cost], before: Mapping[str, Cost]) -> str:
    """Markdown, with ratios where there is a before."""
    lines = ["| body | status | CPU s | peak MB | slowest livez s |", "|---|---|---|---|---|"]
    for name, now in after.items():
        was = before.get(name)
        pairs = [(field, getattr(now, field)) for field in ("cpu_seconds", "peak_mb", "livez_seconds")]
        cells = [
            f"{value:g}" if was is None else f"{getattr(was, field):g} → {value:g}" for field, value in pairs
        ]
        status = str(now.status) if was is None else f"{was.status} → {now.status}"
        lines.append(f"| {name} | {status} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(ATTACKS), default=list(ATTACKS))
    given = parser.parse_args()
    before = {} if given.before is None else json.loads(given.before.read_text())
    after = measure(given.only)
    if given.out is not None:
        given.out.write_text(json.dumps({name: asdict(one) for name, one in after.items()}, indent=1))
    print(table(after, {name: Cost(**one) for name, one in before.items()}))


if __name__ == "__main__":
    main()
