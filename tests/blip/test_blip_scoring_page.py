"""What the code cites of docs/scoring.md stands there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("sightline", "indexer", "retriever", "reranker", "api", "benchmarks", "demo", "tests", "docs")


def test_every_trap_and_heading_that_is_cited_stands_on_the_page() -> None:
    page = (ROOT / "docs" / "scoring.md").read_text()
    traps = [int(number) for number in re.findall(r"^(\d+)\. ", page, re.M)]
    assert traps == list(range(1, len(traps) + 1))
    headings = re.findall(r"^## (.+)$", page, re.M)
    cited_traps, cited_headings = set(), set()
    for folder in FOLDERS:
        for path in (*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.md")):
            text = " ".join(path.read_text().split())
            cited_traps |= {int(number) for number in re.findall(r"scoring\.md, trap (\d+)", text)}
            cited_headings |= set(re.findall(r'scoring\.md, "([\w ]+)"', text))
    assert cited_traps, "nothing is cited: the form of citations has changed"
    assert cited_traps <= set(traps)
    assert cited_headings <= set(headings)
