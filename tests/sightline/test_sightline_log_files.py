"""Logs of background processes: bounded files, of which errors reach the terminal."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sightline.processes.log_files import LOG_BYTES, LogWatch, bound


def line(level: str, message: str) -> str:
    return json.dumps({"time": "now", "level": level, "message": message}) + "\n"


def test_a_long_log_is_put_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    writer = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(writer, b"a" * 100)
    bound(log, 100)
    assert log.stat().st_size == 100, "not yet longer than it may be"
    os.write(writer, b"b")
    bound(log, 100)
    os.write(writer, b"c")
    os.close(writer)
    assert log.read_bytes() == b"c"
    assert (tmp_path / "worker.log.1").read_bytes() == b"a" * 100 + b"b"
    bound(tmp_path / "none.log", LOG_BYTES)


def test_each_error_is_told_once_also_across_a_cut(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text(line("error", "of an earlier run"))
    watch = LogWatch([log, tmp_path / "none.log"])
    assert list(watch.errors()) == []
    late = line("critical", "x")
    with log.open("a") as file:
        file.write(line("info", "fine") + line("error", "first") + "Traceback\n[1]\n" + late[:9])
    assert list(watch.errors()) == ["worker: first"]
    with log.open("a") as file:
        file.write(late[9:])
    assert list(watch.errors()) == ["worker: x"]
    assert list(watch.errors()) == []
    log.write_text(line("error", "cut"))
    assert list(watch.errors()) == ["worker: cut"]
