"""``sightline generations``: what indexes there are, and what they find, against brute force."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import InputError, NotFoundError
from sightline.store.index import BuildRequest
from sightline.store.records import Generation
from sightline.store.sample_texts import CAPTIONS, GENERAL, held_out, text_set
from sightline.store.segments import write_segment
from sightline.store.work_records import Registration
from sightline.upkeep.exact_scan import best_scores
from sightline.wiring import Installation
from tests.sightline.conftest import Run
from tests.store.sampled_index import SampledBackend, is_known

IMAGES = 260
DIM, QUERIES = 8, 4


def silent(*_: object) -> None:
    """Nobody looks."""


def filled(services: Installation) -> tuple[np.ndarray, np.ndarray]:
    """A collection of random tokens in two segments; keys and tokens."""
    services.collections.create("pictures")
    collection = services.catalog.collection("pictures")
    job = services.catalog.create_job(collection.id, "index", {})
    items = [
        Registration(f"{n}", hashlib.sha256(b"%d" % n).hexdigest(), f"/{n}", 1, None, {})
        for n in range(IMAGES)
    ]
    rng, keys, tokens = np.random.default_rng(1), [], []
    for task in services.catalog.register(job.id, items, batch_size=200).task_ids:
        lease = services.catalog.acquire(task, "worker", 60)
        assert lease is not None
        keys.append(np.array([image.key for image in lease.images]))
        drawn = rng.normal(size=(len(lease.images), QUERIES, DIM))  # no two score the same
        tokens.append((drawn / np.linalg.norm(drawn, axis=2, keepdims=True)).astype(np.float16))
        written = write_segment(services.segments.folder, keys[-1], tokens[-1], None, "none")
        assert services.catalog.publish(lease, written, sizes={int(key): (4, 3) for key in keys[-1]})
    return np.concatenate(keys), np.concatenate(tokens)


def built(services: Installation, backend: SampledBackend, **parameters: object) -> None:
    services.indexes.backends["sampled"] = backend  # type: ignore[index]
    snapshot = services.catalog.snapshot("pictures")
    made = backend.build(services.segments, BuildRequest(snapshot.segments, snapshot.gone))
    generation = Generation(
        snapshot.collection.feature_set_id, 1, made.file, made.sha256, made.covered, made.images, 0.0,
        kind="sampled", parameters={"recall": 0.5, **parameters},
    )  # fmt: skip
    assert services.catalog.publish_generation(snapshot.collection.id, 0, generation)


def unit(rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_an_exact_scan_of_segments_is_brute_force(services: Installation) -> None:
    keys, tokens = filled(services)
    snapshot = services.catalog.snapshot("pictures")
    chosen, vectors = keys[::3], unit(5, 2)
    found = best_scores(
        services.segments, [one.file for one in snapshot.segments], chosen, vectors, 30, silent
    )
    right = (tokens[::3].astype(np.float64) @ vectors.T).max(axis=1).T
    assert found == pytest.approx(-np.sort(-right, axis=1)[:, :30], abs=1e-6)
    none = best_scores(services.segments, [], chosen, vectors, 2, silent)
    assert np.isneginf(none).all()


def test_the_recall_told_is_that_of_brute_force(services: Installation, tmp_path: Path) -> None:
    """The sampled index finds exactly the half of the images that it knows."""
    keys, tokens = filled(services)
    services.catalog.delete_images(services.catalog.collection("pictures").id, ids=["7", "8"])
    built(services, SampledBackend(tmp_path / "sampled"))
    sample, collection = unit(40, 3), services.catalog.collection("pictures")
    token = services.sample_texts.token(collection.id)
    assert token is not None
    texts = text_set(sample, np.full(40, GENERAL, np.int8), IMAGES, 1.0)
    assert services.sample_texts.write(collection.fingerprint, collection.id, token, texts)
    report = services.recall_measurement.report("pictures", [], 25, silent)
    alive = ~np.isin(keys, services.catalog.snapshot("pictures").dead)
    scores = (tokens[alive].astype(np.float64) @ texts.vectors[:25].T).max(axis=1).T
    known = is_known(keys[alive])
    for count, told in ((10, report.rows[0].recall10), (100, report.rows[0].recall100)):
        right = [known[np.argsort(-row)[:count]].mean() for row in scores]
        assert told == pytest.approx(np.mean(right), abs=1e-9)
    assert (report.kind, report.generation, report.images, report.queries) == ("sampled", 1, IMAGES - 2, 25)
    assert (report.source, report.built_recall) == ("sample texts", 0.5)
    assert [row.probes for row in report.rows][:2] == [None, 1]
    assert all(0 < row.p50_ms <= row.p95_ms for row in report.rows)


def test_what_an_index_learned_from_is_not_what_it_is_measured_with(
    services: Installation, tmp_path: Path
) -> None:
    filled(services)
    collection = services.catalog.collection("pictures")
    origins = np.array([CAPTIONS] * 60 + [GENERAL] * 20, np.int8)
    texts = text_set(unit(80, 4), origins, IMAGES, 1.0)
    token = services.sample_texts.token(collection.id)
    assert token is not None
    assert services.sample_texts.write(collection.fingerprint, collection.id, token, texts)
    built(services, SampledBackend(tmp_path / "sampled"), text_set=texts.id)
    report = services.recall_measurement.report("pictures", [], 200, silent)
    assert (report.source, report.queries) == ("held-out sample texts", 20)
    chosen = held_out(origins)
    assert (chosen[:60].sum(), chosen[60:].sum()) == (15, 5)


def test_without_texts_or_an_index_it_says_what_to_do(services: Installation, tmp_path: Path) -> None:
    filled(services)
    with pytest.raises(NotFoundError, match="no index yet"):
        services.recall_measurement.report("pictures", [], 5, silent)
    built(services, SampledBackend(tmp_path / "sampled"))
    with pytest.raises(InputError, match="--queries"):
        services.recall_measurement.report("pictures", [], 5, silent)
    report = services.recall_measurement.report("pictures", ["red left", "blue", "red left"], 5, silent)
    assert (report.source, report.queries) == ("queries", 2)


def test_the_commands_print_a_table_json_and_a_picture(
    services: Installation, sightline: Run, tmp_path: Path
) -> None:
    filled(services)
    assert services.builder.fold("pictures")
    listed = sightline("generations", "list", "-c", "pictures", "--json").answer["generations"]
    (one,) = listed
    assert (one["number"], one["kind"], one["serving"], one["images"]) == (1, "flat", True, IMAGES)
    assert one["bytes"] == sum(
        path.stat().st_size for path in services.settings.generations_folder.glob("[0-9a-f]*")
    )
    assert one["recall"] is None
    assert "flat" in sightline("generations", "list", "-c", "pictures").stdout
    queries, png = tmp_path / "queries.txt", tmp_path / "report.png"
    queries.write_text("red\nblue left\n")
    told = ("generations", "report", "-c", "pictures", "--queries", str(queries))
    report = sightline(*told, "--out", str(png), "--json").answer
    assert [(row["probes"], row["recall10"], row["recall100"]) for row in report["rows"]] == [(None, 1, 1)]
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    ended = sightline(*told)
    assert "100.0 %" in ended.stdout
    assert "2 queries" in ended.stdout
    assert sightline("generations", "report", "-c", "pictures").code == 2
    assert sightline("generations", "list", "-c", "other").code == 3
