"""The demo: what it counts and prints, and the whole of it as a process when the shipped model is there."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.cli.demo_outcomes import Outcome, Query, summary
from sightline.cli.demo_run import FOLDER, read_queries
from sightline.cli.demo_table import show
from sightline.records import SearchHit
from sightline.settings import Settings
from tests.sightline.conftest import Run, processes_of


def hit(image_id: str, rank: int, probability: float | None = None) -> SearchHit:
    return SearchHit(
        id=image_id, uri="", rank=rank, score=0.0, itc=0.5, itc_rank=rank, itm_logit=probability,
        match_probability=probability, caption=None, metadata={}, key=rank, sha256="", width=1, height=1,
    )  # fmt: skip


def outcome(relevant: str, itc: str, itm: str, probability: float = 0.9) -> Outcome:
    """Image ids are single letters."""
    query = Query(f"find {relevant}", "a test", frozenset(relevant))
    by_itc = tuple(hit(letter, rank) for rank, letter in enumerate(itc, 1))
    after_itm = tuple(hit(letter, rank, probability) for rank, letter in enumerate(itm, 1))
    return Outcome(query, by_itc, after_itm)


OUTCOMES = (
    outcome("ab", itc="xaybz", itm="abxyz"),
    outcome("c", itc="xyzuv", itm="xcyzu"),
    outcome("", itc="xyzuv", itm="xyzuv", probability=0.2),
)


def test_right_answers_are_counted_over_the_answerable_queries() -> None:
    assert summary(OUTCOMES) == {
        "answerable": 2,
        "findable_in_top": 3,
        "right_in_top_by_itc": 2,
        "right_in_top_after_itm": 3,
        "first_right_by_itc": 0,
        "first_right_after_itm": 1,
        "unanswerable": 1,
        "said_that_nothing_matches": 1,
    }


def test_the_table_marks_what_is_right() -> None:
    out = io.StringIO()
    show(OUTCOMES, summary(OUTCOMES), Console(file=out, width=140))
    printed = out.getvalue()
    assert printed.count("✓") == 2 + 3 + 1
    assert "2 by ITC, 3 after ITM, of 3 (+1)" in printed
    assert "nothing matches" in printed


def test_the_shipped_queries_name_shipped_pictures() -> None:
    ids = {json.loads(line)["id"] for line in (FOLDER / "manifest.jsonl").read_text().splitlines()}
    queries = read_queries(FOLDER)
    assert len(queries) == 12
    assert all(query.relevant <= ids for query in queries)
    assert [query.text for query in queries if not query.relevant], "one query that nothing matches"


@pytest.mark.timeout(300)
@pytest.mark.skipif(not (DEMO_FOLDER / "model.safetensors").exists(), reason="the model is not trained yet")
def test_the_demo_indexes_searches_and_leaves_nothing_behind(sightline: Run, settings: Settings) -> None:
    done = sightline("demo", "--once", "--json")
    assert done.code == 0, done.stderr
    found = done.answer
    assert found["indexed"] == {"indexed": 500, "unchanged": 0, "failed": 0}
    assert found["right_in_top_after_itm"] > found["right_in_top_by_itc"]
    assert processes_of(settings) == []
