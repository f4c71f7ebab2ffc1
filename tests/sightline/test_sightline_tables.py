"""Tables that can be read: whole in a pipe, laid out for a terminal, and pictures in the browser."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from sightline.cli.hits import file_name
from sightline.cli.output import print_error, print_failures, print_json
from sightline.cli.tables import Column, print_table, shorten
from sightline.errors import InputError
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import Run, index, save

LONG = "a folder with a long name/and one below it, as people have them/写真 of a day at the sea 2026-07-14"
JOB = "3f1c9a52d0b84c8e9f7a6b5c4d3e2f10"
PRINT = """
import fcntl, struct, sys, termios
fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, {width}, 0, 0))
from sightline.cli.tables import Column, print_table
print_table(("id", Column("file", "name"), Column("caption", "text")),
            [[{job!r}, {name!r}, {caption!r}], [{job!r}, "b.png", ""]])
"""


@pytest.fixture
def filled(services: Installation, tmp_path: Path) -> Installation:
    """Two pictures; one has a long name."""
    save(tmp_path / "photos", LONG, "red")
    save(tmp_path / "photos", "blue", "blue")
    index(services, tmp_path / "photos")
    return services


def on_a_terminal(width: int, caption: str = "a red car and a blue house beside a tree") -> list[str]:
    """The lines of a table on a terminal of that width."""
    ours, theirs = pty.openpty()
    program = PRINT.format(width=width, job=JOB, name=f"{LONG}.png", caption=caption)
    variables = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=theirs, stdout=theirs, env=variables | {"TERM": "xterm"}
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:  # the other end is closed
            pass
        assert process.wait(timeout=60) == 0
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;]*m", "", said.decode()).splitlines()


def test_in_a_pipe_every_row_is_one_line_of_whole_cells(sightline: Run, filled: Installation) -> None:
    found = sightline("search", "red", "-c", "pictures").stdout.splitlines()
    heading, first, second = (line.split("\t") for line in found)
    assert heading[:3] == ["rank", "id", "match"]
    assert (first[:2], second[:2]) == (["1", f"{LONG}.png"], ["2", "blue.png"])
    assert len(heading) == len(first) == len(second)
    jobs = sightline("jobs").stdout.splitlines()
    assert jobs[1].split("\t")[0] == filled.catalog.jobs(None, 1)[0].id


def test_captions_and_names_of_files_command_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "a\x1b[31m\x1b]0;title\x07\x9b5m\x7f b"
    escaped = r"a\x1b[31m\x1b]0;title\x07\x9b5m\x7f b"
    print_table(("id", Column("caption", "text")), [["1", hostile]])
    print_failures([{"id": f"{hostile}\nc", "reason": "unsupported", "detail": hostile}])
    print_error(InputError(hostile), as_json=False)
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "id\tcaption", f"1\t{escaped}", f"  {escaped} c: unsupported: {escaped}"
    ]  # fmt: skip
    assert said.err == f"error: {escaped}\n"
    print_json({"caption": hostile})
    document = capsys.readouterr().out
    assert json.loads(document) == {"caption": hostile}
    assert not set(document) & set("\x1b\x07\x9b\x7f")
    shown = "".join(on_a_terminal(200, caption=hostile))
    assert escaped in shown
    assert not set(shown) & set("\x1b\x07\x9b\x7f")


def test_a_terminal_shortens_names_in_their_middle_and_breaks_no_id() -> None:
    wide = on_a_terminal(240)
    assert f"{JOB}  {LONG}.png" in wide[1]
    for width in (100, 80):
        lines = on_a_terminal(width)
        assert all(cell_len(line) <= width for line in lines), lines
        assert sum(JOB in line for line in lines) == 2
        shown = re.search(rf"{JOB}  (a fol.*…)(.* 2026-07-14\.png|.*\.png) ", lines[1])
        assert shown, lines
    narrow = on_a_terminal(30)
    assert [line.split()[0] for line in narrow if JOB in line] == [JOB, JOB], "the terminal breaks the line"


@pytest.mark.parametrize("name", ["", "a", "a.png", LONG, "写真写真写真.png", "e\u0301e\u0301e\u0301"])
@pytest.mark.parametrize("width", [12, 13, 40])
def test_a_shortened_name_keeps_its_ends_and_its_width(name: str, width: int) -> None:
    short = shorten(name, width)
    if cell_len(name) <= width:
        assert short == name
    else:
        head, tail = short.split("…")
        assert name.startswith(head)
        assert name.endswith(tail)
        assert width - 2 <= cell_len(short) <= width
        assert abs(cell_len(head) - cell_len(tail)) <= 2


@pytest.mark.parametrize(
    ("uri", "name"),
    [("/a/b c.png", "b c.png"), ("https://x.org/a%20b.jpg?v=1", "a b.jpg"), ("upload:ab", "")],
)
def test_the_file_of_an_address_is_its_last_part(uri: str, name: str) -> None:
    assert file_name(uri) == name


def test_open_shows_what_was_found_in_the_browser(
    sightline: Run, filled: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    told = sightline("search", "red", "-c", "pictures", "--open")
    assert (told.code, "There is no display here" in told.stderr) == (0, True)
    browser, fetched = tmp_path / "browser", tmp_path / "page.html"
    fetch = "import sys, urllib.request as r; open(sys.argv[1], 'wb').write(r.urlopen(sys.argv[2]).read())"
    browser.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{fetch}" {fetched} "$1"\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    for command in (["search", "red <b>"], ["similar", "--id", "blue.png"]):
        fetched.unlink(missing_ok=True)
        assert sightline(*command, "-c", "pictures", "--open").code == 0
        page = fetched.read_text()
        assert page.count("data:image/webp;base64,") == (2 if command[0] == "search" else 1)
        assert "<b></h1>" not in page
        assert LONG in page


def test_pictures_can_be_shown_after_the_search(settings: Settings, filled: Installation) -> None:
    """The page is made from the catalog's thumbnails: one that is lost is told in its place."""
    from sightline.cli.showing import page_of
    from sightline.records import SearchRequest

    with open_installation(settings, inline=True) as services:
        hits = services.search.find(SearchRequest("pictures", "red")).results
        for path in (settings.data_folder / "originals").rglob("*.webp"):
            path.unlink()
        assert page_of("red", hits, services.blobs).count("There is no thumbnail") == 2
