"""What a search costs beside the model: client wall minus the time in encoding and reranking.

``python -m benchmarks.http_overhead``. The demo collection behind ``sightline serve`` in a process of its
own, one client with keep-alive. The model is the shipped one; without it, random weights of its geometry
(their tokens are closer to one another, so that retrieval takes longer).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles

from benchmarks.http_client import Answered, Client, running_server
from benchmarks.measuring import Budget, Row, Section
from sightline.blip.checkpoint import DEMO, DEMO_FOLDER
from sightline.cli.demo_run import COLLECTION, FOLDER, read_queries
from sightline.settings import Settings
from sightline.wiring import open_installation

GOAL_MS = 5.0
CANDIDATES = 100
_LEAST, _RESERVE_S = 10, 10.0
"""Fewer searches than planned, but so many, when no more than so many seconds are left."""


def run(full: bool) -> Section:
    """``full``: all 500 pictures and 200 searches; else 24 pictures and 10 searches."""
    section = Section("Search over HTTP, beside the model")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = DEMO if DEMO_FOLDER.exists() else _random_demo_model(folder / "model")
        if model != DEMO:
            section.notes.append("Random weights of the demo model's geometry.")
        settings = _settings(folder / "data", model)
        _fill(settings, folder, None if full else 24)
        with (
            (folder / "log").open("wb") as log,
            running_server(settings, log) as server,
        ):
            answers = _ask(server.port, 200 if full else 10)
    section.notes.append(f"{len(answers)} searches.")
    section.figures["http_overhead_ms"] = round(median(map(_overhead_ms, answers)), 3)
    section.figures["demo_serve_ready_s"] = round(server.ready_seconds, 3)
    section.rows = [
        Row(
            "search over HTTP, beside the model",
            _spread(map(_overhead_ms, answers)),
            goal=f"≤ {GOAL_MS:g} ms",
        ),
        *(Row(f"of which {what}", _spread(values)) for what, values in _parts(answers).items()),
        Row("start of serve until ready, demo model", f"{server.ready_seconds:.2f} s"),
    ]
    return section


def _random_demo_model(folder: Path) -> str:
    from demo.training.recipe import Recipe, architecture
    from sightline.blip.random_weights import write_random_checkpoint

    return str(write_random_checkpoint(folder, architecture(Recipe().vocab_size)))


def _settings(data: Path, model: str) -> Settings:
    empty = Settings(data=data)
    return empty.model_copy(update={"model": replace(empty.model, name=model)})


def _fill(settings: Settings, folder: Path, pictures: int | None) -> None:
    """Index the demo collection, or its first pictures, and fold it."""
    rows = [json.loads(line) for line in (FOLDER / "manifest.jsonl").read_text().splitlines()[:pictures]]
    manifest = folder / "manifest.jsonl"
    manifest.write_text("\n".join(json.dumps({**row, "uri": str(FOLDER / row["uri"])}) for row in rows))
    with open_installation(settings, inline=True) as services:
        services.collections.create(COLLECTION)
        job = services.indexer.index([str(manifest)], COLLECTION)
        counts = services.indexer.wait(job.id, timeout=600)
        if counts.failed or counts.indexed != len(rows):
            raise RuntimeError(f"Only {counts.indexed} of {len(rows)} pictures were indexed.")
        services.builder.fold(COLLECTION)


def _ask(port: int, searches: int) -> list[Answered]:
    texts = [query.text for query in read_queries(FOLDER)]
    client = Client(port, COLLECTION)
    for number in range(searches // 10 + 1):  # a first search opens the index, compiles validators
        client.search(f"{texts[number % len(texts)]} once more", CANDIDATES)
    answers: list[Answered] = []
    while len(answers) < searches and (len(answers) < _LEAST or Budget.given().enough_for(_RESERVE_S)):
        answers.append(client.search(texts[len(answers) % len(texts)], CANDIDATES))
    client.close()
    return answers


def _overhead_ms(answer: Answered) -> float:
    timings = answer.body["timings"]
    return float(answer.seconds * 1000 - timings["encode_ms"] - timings["rerank_ms"])


def _parts(answers: Sequence[Answered]) -> dict[str, list[float]]:
    """Milliseconds of what lies beside the model, and of the model for comparison."""
    timings = [answer.body["timings"] for answer in answers]
    inside = [each["total_ms"] - each["encode_ms"] - each["rerank_ms"] for each in timings]
    return {
        "retrieval": [each["retrieve_ms"] for each in timings],
        "catalog and order": [
            all_of_it - each["retrieve_ms"] for all_of_it, each in zip(inside, timings, strict=True)
        ],
        "HTTP and JSON": [
            _overhead_ms(answer) - beside for answer, beside in zip(answers, inside, strict=True)
        ],
        "(the model: text)": [each["encode_ms"] for each in timings],
        "(the model: pairs)": [each["rerank_ms"] for each in timings],
    }


def _spread(milliseconds: Sequence[float] | map[float]) -> str:
    values = list(milliseconds)
    cuts = quantiles(values, n=20)
    return f"{median(values):.2f} ms (p95 {cuts[-1]:.2f}, n={len(values)})"


if __name__ == "__main__":
    from benchmarks.run import markdown

    print(markdown(run(full="--small" not in sys.argv)))
