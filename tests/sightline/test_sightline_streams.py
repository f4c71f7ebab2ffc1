"""The command line writes to any stream, and takes any bytes as arguments: never a traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from sightline.cli.main import run
from sightline.settings import Settings, environment
from sightline.store.work_records import Failure
from sightline.wiring import Installation
from tests.sightline.conftest import ROOT
from tests.sightline.several_commands import BREAK, NEXT

NAME = "é☃ 写真"
NO_TEXT = b"\xff\xfe"
ASCII_ONLY = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A process in which not even arguments and names of files are UTF-8."""
SEARCHES: list[list[str | bytes]] = [
    ["search", NO_TEXT, "--collection", "pictures"],
    ["search", "red", "--collection", NO_TEXT],
    ["search", "red", "--collection", "pictures", "--filter", b'{"field": "id", "equals": "\xff"}'],
]


@pytest.fixture
def collection(services: Installation) -> str:
    services.collections.create("pictures", "toy")
    job = services.catalog.create_job(services.catalog.collection("pictures").id, "index", {})
    services.catalog.record_failures(job.id, [Failure(NAME, "/x", "unreadable", f"{NAME} is lost.")])
    services.catalog.seal_job(job.id)
    return job.id


@dataclass(frozen=True)
class Answer:
    code: int
    out: bytes
    err: bytes


def started(
    settings: Settings, arguments: Sequence[str | bytes], before: str = "", **changes: str
) -> subprocess.CompletedProcess[bytes]:
    quoted = [os.fsencode(one) for one in (sys.executable, *arguments)]
    shell = ["sh", "-c", f'exec "$@" {before}', "sh", *quoted]
    env = {**os.environ, **environment(settings), **changes}
    return subprocess.run(shell, cwd=ROOT, env=env, capture_output=True, timeout=120, check=False)


def several(settings: Settings, *commands: Sequence[str | bytes], **changes: str) -> list[Answer]:
    """The answers of these commands, run in one process."""
    words = [word for command in commands for word in (NEXT, *command)]
    done = started(settings, ["-P", "-c", CHILD, *words], **changes)
    parts = [re.split(f"{BREAK}(\\d+){BREAK}".encode(), stream)[:-1] for stream in (done.stdout, done.stderr)]
    out, err = ([part[place::2] for part in parts] for place in (0, 1))
    assert len(out[0]) == len(err[0]) == len(commands), done.stderr
    return [Answer(int(code), *streams) for code, *streams in zip(err[0], *out, strict=True)]


CHILD = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.sightline.several_commands import main
main()
"""


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        (ASCII_ONLY | {"PYTHONIOENCODING": "latin-1"}, b"\xe9\\u2603 \\u5199\\u771f"),
        pytest.param(ASCII_ONLY, b"\\xe9\\u2603 \\u5199\\u771f", marks=pytest.mark.long),
        pytest.param({"PYTHONIOENCODING": "ascii"}, b"\\xe9\\u2603 \\u5199\\u771f", marks=pytest.mark.long),
        pytest.param({"PYTHONIOENCODING": "latin-1"}, b"\xe9\\u2603 \\u5199\\u771f", marks=pytest.mark.long),
        pytest.param({"LC_ALL": "C"}, NAME.encode(), marks=pytest.mark.long),
    ],
    ids=["C and latin-1", "C throughout", "ascii", "latin-1", "C"],
)
def test_any_stream_and_any_argument_is_an_answer_or_a_sentence(
    settings: Settings, collection: str, changes: dict[str, str], shown: bytes
) -> None:
    here = ["--collection", "pictures"]
    folder = os.fsencode(settings.data_folder) + NO_TEXT
    right: list[list[str | bytes]] = [
        ["jobs", collection, "--errors"],
        ["jobs", collection, "--json"],
        ["collections", "--data", folder],
    ]
    wrong: list[list[str | bytes]] = [
        ["delete", *here, "--id", NO_TEXT],
        ["trash", "restore", *here, NO_TEXT],
        ["index", folder, *here],
        ["keys", "create", NO_TEXT],
        ["keys", "create", "é"],
        ["jobs", NO_TEXT],
        *(SEARCHES if changes == {"LC_ALL": "C"} else ()),  # what they import takes longest
        [NO_TEXT],
    ]
    answers = several(settings, *right, *wrong, **changes)
    for command, answer in zip([*right, *wrong], answers, strict=True):
        assert b"Traceback" not in answer.out + answer.err, (command, answer)
    plain, told, empty = answers[:3]
    assert [(one.code, one.err) for one in (plain, told)] == [(0, b"")] * 2
    assert (empty.code, empty.out) == (3, b""), empty
    assert shown in plain.out
    assert json.loads(told.out)["errors"][0]["id"] == NAME
    for command, answer in zip(wrong[:-1], answers[3:-1], strict=True):
        assert answer.code == 2, (command, answer)
        assert re.fullmatch(rb"error: .*[^\n]\.\n", answer.err, re.DOTALL), (command, answer)
    assert (answers[-1].code, b"No such command" in answers[-1].err) == (2, True)


def test_a_closed_stream_and_a_closed_pipe_are_no_traceback(settings: Settings, collection: str) -> None:
    closed = started(settings, ["-m", "sightline", "jobs", collection, "--json"], ">&- 2>&-")
    assert closed.returncode == 0
    piped = started(settings, ["-m", "sightline", "jobs", collection, "--errors"], "| head -c 0")
    assert b"Traceback" not in piped.stderr, piped.stderr


@pytest.mark.parametrize("search", SEARCHES, ids=["text", "collection", "filter"])
def test_a_search_for_what_is_no_text_is_a_sentence(
    settings: Settings, collection: str, search: list[str | bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run([*map(os.fsdecode, search), "--data", str(settings.data_folder)])
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert re.fullmatch(r"error: [^\n]+ is not valid Unicode[^\n]+\.\n", said.err), said.err


@pytest.mark.long
def test_arguments_that_are_no_text_are_a_sentence_of_the_command_itself(settings: Settings) -> None:
    done = started(settings, ["-m", "sightline", "delete", "--collection", "pictures", "--id", NO_TEXT])
    assert done.returncode in (2, 3)
    assert re.fullmatch(rb"error: [^\n]+\.\n", done.stderr), done.stderr


@pytest.mark.parametrize("arguments", [["collections", "--json"], ["jobs", "nowhere", "--json"], ["--help"]])
def test_an_answer_that_a_full_disk_does_not_take_is_a_sentence(
    settings: Settings, collection: str, arguments: list[str]
) -> None:
    done = started(settings, ["-m", "sightline", *arguments], ">/dev/full")
    said = done.stderr.decode()
    assert "Traceback" not in said
    assert said.count("error: ") == 1, said
    if "nowhere" in arguments:
        assert (done.returncode, "There is no job" in said) == (3, True), said
    else:
        assert done.returncode == 5
        assert "The answer cannot be written to the standard output: No space left on device." in said
