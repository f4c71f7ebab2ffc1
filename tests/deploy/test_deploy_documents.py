"""What the documents point at is there: files, headings, paths in the text, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from sightline.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.M)
PLACE = re.compile(
    r"`((?:api|benchmarks|captioner|demo|docs|indexer|reranker|retriever|sightline|tests)/[\w./-]*)(?:::\w+)?`"
)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    words = [re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in HEADING.findall(prose(page))]
    return {heading.replace(" ", "-") for heading in words}


def dead(page: Path) -> Iterator[str]:
    """Links to this repository that lead nowhere."""
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            yield target


def missing(page: Path) -> Iterator[str]:
    """Paths that the text names and that are not there; NAME in them stands for any."""
    for path in PLACE.findall(prose(page)):
        if "NAME" not in path and not (ROOT / path).exists():
            yield path


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_link_is_dead(page: Path) -> None:
    assert list(dead(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_path_is_gone(page: Path) -> None:
    assert list(missing(page)) == []


def test_dead_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Two Words: here\n[a](page.md#two-words-here) [b](#nowhere) [c](gone.md) [d](https://example.org/x)\n"
        "```\n[e](in-code.md)\n```\n`sightline/gone.py` `sightline/errors.py` `sightline/cli/NAME.py`\n"
    )
    assert list(dead(page)) == ["#nowhere", "gone.md"]
    assert list(missing(page)) == ["sightline/gone.py"]


def test_every_page_can_be_reached_from_the_front() -> None:
    seen, ahead = set[Path](), [ROOT / "README.md", ROOT / "docs" / "index.md"]
    while ahead:
        page = ahead.pop()
        seen.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(prose(page))]
        pages = [path for path in targets if path.suffix == ".md" and path.exists()]
        folders = [path for path in targets if path.is_dir() and path.is_relative_to(ROOT / "docs")]
        pages += [path for folder in folders for path in folder.glob("*.md")]
        ahead += [path for path in pages if path not in seen]
    assert {name(page) for page in PAGES} <= {name(page) for page in seen}


def test_every_command_has_its_section() -> None:
    sections = set(re.findall(r"[\w-]+", " ".join(HEADING.findall((ROOT / "docs" / "cli.md").read_text()))))
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert commands <= sections
