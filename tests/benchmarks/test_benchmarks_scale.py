"""Scale benchmarks: tokens have the structure that is claimed, truth is exact, runs go on after an end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.goals import GOALS, MILLION_GOALS, judge
from benchmarks.measuring import Section
from benchmarks.scale import Size, add, allowed, figures, label
from benchmarks.scale_asking import Asked, Plan, ask, recall
from benchmarks.scale_collection import Built, ScaleCollection, fill
from benchmarks.scale_growth import Step, draw, grow, markdown, steps_to, write_csv
from benchmarks.scale_memory import AnonymousPeak
from benchmarks.scale_million import write
from benchmarks.scale_others import TARGET, tuned
from benchmarks.scale_source import Source, photo_folders, photos, scenes
from benchmarks.scale_tokens import BLOCK, GROUPS, Tokens, structure
from sightline.store.records import FLAT
from sightline.types import Half, Vector

QUERIES, DIM = 16, 32


def unit(rows: np.ndarray) -> Vector:
    found: Vector = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return found


def redundant_source() -> Source:
    """Pictures whose tokens are nearly one, around what all have in common."""
    rng = np.random.default_rng(1)
    common = rng.standard_normal(DIM)
    centres = common + 0.5 * rng.standard_normal((60, 1, DIM))
    tokens = unit(centres + 0.1 * rng.standard_normal((60, QUERIES, DIM))).astype(np.float16)
    texts = unit(common + rng.standard_normal((40, DIM)))
    return Source("test", tokens, texts[8:], texts[:8])


@pytest.fixture(scope="module")
def source() -> Source:
    return redundant_source()


@pytest.fixture(scope="module")
def collection(source: Source, tmp_path_factory: pytest.TempPathFactory) -> ScaleCollection:
    """Two blocks, with a flat index."""
    filled = fill(tmp_path_factory.mktemp("scale"), Tokens(source, "easy"), 2 * BLOCK)
    filled.build(FLAT, 2 * BLOCK, source)
    return filled


def tokens_of(collection: ScaleCollection, images: int) -> Half:
    files = [one.file for one in collection.segments(images)]
    return np.concatenate([collection.reader.tokens(file)[1] for file in files])


def test_the_rank_of_an_image_is_the_number_of_its_directions() -> None:
    tokens = np.repeat(np.eye(DIM, dtype=np.float16)[:4], QUERIES // 4, axis=0)[None]
    found = structure(tokens, np.eye(DIM, dtype=np.float32)[:3])
    pairs = QUERIES * (QUERIES - 1)
    assert found.rank == pytest.approx(4.0, abs=1e-6)
    assert found.cosine == pytest.approx(QUERIES * (QUERIES // 4 - 1) / pairs)
    assert (found.winners, found.texts) == (3.0, 3)


def test_the_easy_set_is_as_redundant_as_its_source_and_the_hard_one_is_not(source: Source) -> None:
    real = structure(source.tokens, source.queries)
    easy = structure(Tokens(source, "easy").block(0), source.queries)
    hard = structure(Tokens(source, "hard").block(0), source.queries)
    assert easy.cosine == pytest.approx(real.cosine, abs=0.1)
    assert easy.rank == pytest.approx(real.rank, abs=0.7)
    assert hard.rank >= GROUPS
    assert hard.cosine < 0.3


@pytest.mark.parametrize("recipe", ["easy", "hard"])
def test_blocks_are_the_same_whenever_they_are_made(source: Source, recipe: str) -> None:
    once, again = (Tokens(source, "easy" if recipe == "easy" else "hard") for _ in range(2))
    second, first = once.block(1), once.block(0)
    assert np.array_equal(first, again.block(0))
    assert np.array_equal(second, again.block(1))
    assert not np.array_equal(first, second)
    assert np.allclose(np.linalg.norm(first.astype(np.float64), axis=2), 1, atol=2e-3)


def test_other_tokens_have_another_name(source: Source) -> None:
    names = {Tokens(source, "easy").id, Tokens(source, "hard").id, Tokens(source, "easy", seed=1).id}
    assert len(names) == 3


def test_what_is_true_is_what_brute_force_finds_also_of_some_images(
    collection: ScaleCollection, source: Source
) -> None:
    tokens = tokens_of(collection, 2 * BLOCK).astype(np.float64)
    scores = np.einsum("nqd,td->tnq", tokens, source.queries.astype(np.float64)).max(axis=2)
    mask = np.arange(2 * BLOCK) % 7 == 3
    for one in (None, mask):
        told = np.where(True if one is None else one, scores, -np.inf)
        for query, found in enumerate(collection.best(2 * BLOCK, 50, one)):
            best = np.argsort(-told[query], kind="stable")[:50]
            # Scores in fp32 may exchange two that are nearly equal.
            assert np.allclose(told[query][found], told[query][best], atol=1e-6)


def test_an_interrupted_run_goes_on_and_comes_to_the_same(source: Source, tmp_path: Path) -> None:
    tokens = Tokens(source, "easy")
    whole = fill(tmp_path / "whole", tokens, 2 * BLOCK)
    fill(tmp_path / "cut", tokens, BLOCK)
    folder = tmp_path / "cut" / tokens.id
    (folder / "segments" / ".aside-half.safetensors").write_bytes(b"half")
    with (folder / "segments.jsonl").open("a") as lines:
        lines.write('{"file": "cut')
    told: list[int] = []
    cut = fill(tmp_path / "cut", tokens, 2 * BLOCK, told.append)
    assert told == [2 * BLOCK]
    assert np.array_equal(tokens_of(cut, 2 * BLOCK), tokens_of(whole, 2 * BLOCK))
    assert (folder / "scores.f32").read_bytes() == (whole.folder / "scores.f32").read_bytes()
    assert len(list((folder / "segments").iterdir())) == 2


def test_an_index_is_built_once_and_known_by_its_texts(collection: ScaleCollection, source: Source) -> None:
    again = collection.build(FLAT, 2 * BLOCK, source)
    assert again == collection.built(FLAT, 2 * BLOCK, source.texts().id)
    assert len((collection.folder / "built.jsonl").read_text().splitlines()) == 1
    assert collection.built(FLAT, 2 * BLOCK, "others") is None
    with pytest.raises(ValueError, match="in blocks of"):
        collection.segments(3 * BLOCK)


def test_what_an_interrupted_build_left_goes_with_the_next(source: Source, tmp_path: Path) -> None:
    collection = fill(tmp_path, Tokens(source, "easy"), BLOCK)
    (collection.folder / "indexes").mkdir()
    (collection.folder / "indexes" / "half.generation.safetensors").write_bytes(b"half")
    built = collection.build(FLAT, BLOCK, source)
    assert [path.name for path in (collection.folder / "indexes").iterdir()] == [built.file]


def test_an_exact_index_finds_all_among_all_and_among_some(
    collection: ScaleCollection, source: Source
) -> None:
    plan = Plan(str(collection.folder), FLAT, 2 * BLOCK, source.texts().id, rounds=1, flat=True)
    asked = ask(plan)
    assert (asked.recall100, asked.recall10) == (pytest.approx(1, abs=0.01), pytest.approx(1, abs=0.03))
    assert set(asked.recall) == {"all", "0.5", "0.1", "0.01", "without 0.3"}
    assert min(asked.recall.values()) > 0.97
    assert min(asked.filter_ratio, asked.flat_ms, asked.first_s) > 0


def test_memory_is_measured_above_what_was_freed_before() -> None:
    freed = np.ones(40_000_000, np.uint8)
    del freed
    with AnonymousPeak() as peak:
        taken = np.ones(30_000_000, np.uint8)
        assert taken.sum() == 30_000_000
    assert not Path("/proc/self/status").exists() or peak.bytes > 25_000_000


def test_recall_counts_the_best_that_were_found_among_as_many() -> None:
    found = [np.array([1, 2, 9, 3]), np.array([5])]
    truth = [np.array([1, 2, 3]), np.array([5, 6])]
    assert recall(found, truth, 3) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert recall(found, truth, 1) == 1.0


def asked() -> Asked:
    ms = {"all": 2.0, "0.1": 3.0, "without 0.3": 2.5}
    return Asked(0.4, 0.995, 0.999, 2.0, 4.0, 2.1, 2.2, 10**9, dict.fromkeys(ms, 0.99), ms)


def built(images: int) -> Built:
    return Built("ivf-sq8", images, "code", "texts", "file", "00", 2000 * images, 0.99, 60.0, 10**9)


@pytest.mark.parametrize(("goals", "images"), [(GOALS, 200_000), (MILLION_GOALS, 1_000_000)])
def test_every_goal_of_scale_is_a_figure_that_is_told(goals: tuple[object, ...], images: int) -> None:
    prefix = f"scale_{label(images)}"
    told = figures(prefix, built(images), asked()) | figures(f"{prefix}_hard", built(images), asked())
    added = {"scale_filter_ratio": asked().filter_ratio, "scale_filter_recall": 0.99, f"{prefix}_vs_flat": 20}
    verdicts = judge(told | added, "avx2", GOALS if images == 200_000 else MILLION_GOALS)
    scale = [one for one in verdicts if one.goal.figure.startswith("scale")]
    assert len(scale) >= 8
    assert {one.word for one in scale} == {"passed"}
    assert asked().filter_ratio == 1.5


def test_what_is_searched_is_said_in_words() -> None:
    assert [allowed(name) for name in ("0.01", "without 0.3")] == ["a filter that 1% pass", "30% deleted"]
    assert [label(images) for images in (2000, 200_000, 1_000_000)] == ["2k", "200k", "1m"]


def test_a_collection_is_measured_in_a_fresh_process_and_written(
    collection: ScaleCollection, source: Source, tmp_path: Path
) -> None:
    section, size = Section("test"), Size(2 * BLOCK, 40, 1, root=collection.folder.parent)
    add(section, Tokens(source, "easy"), size, FLAT, flat=True)
    assert section.figures["scale_2k_recall100"] > 0.99
    assert {"scale_2k_vs_flat", "scale_filter_ratio"} <= set(section.figures)
    assert [note[:5] for note in section.notes] == ["easy:"]
    out = tmp_path / "results" / "scale.json"
    write(section, {"class": "test", "goals": "avx2"}, size, out)
    told = json.loads(out.read_text())
    assert told["scale_2k_p50_ms"] == section.figures["scale_2k_p50_ms"]
    assert told["goals"]["scale_1m_recall100"]["verdict"] == "not measured"
    assert told["pictures"] == "40 scenes of the demo world"


def test_pictures_are_scenes_or_the_photos_of_a_folder(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 6), "red").save(tmp_path / name / "a.png")
        line = json.dumps({"image": "a.png", "captions": [f"red {name}", "red"]})
        (tmp_path / name / "captions.jsonl").write_text(f"{line}\n")
    folders = photo_folders(tmp_path)
    found = list(photos(folders))
    assert folders == [tmp_path / "one", tmp_path / "two"]
    assert [(one.picture.shape, one.captions[0]) for one in found] == [
        ((6, 8, 3), "red one"), ((6, 8, 3), "red two"),
    ]  # fmt: skip
    assert [len(one.captions) for one in scenes(3)] == [3, 3, 3]


def test_a_flat_index_is_never_grown_and_the_curve_is_written_and_drawn(
    collection: ScaleCollection, source: Source, tmp_path: Path
) -> None:
    serving = collection.built(FLAT, 2 * BLOCK, source.texts().id)
    grown = grow(collection, 2 * BLOCK, FLAT, source, serving)
    assert (grown.how, grown.serving.grown_from) == ("anew", "")
    steps = [Step(n, FLAT, "anew", 1, 1.5, 2, 0.1, 10**8, 3, 10**7, 16 * n, 17 * n) for n in (1000, 3000)]
    lines = write_csv(steps, tmp_path / "growth.csv").read_text().splitlines()
    assert lines[1].startswith("1000,flat,anew,1,1.5,2,0.1,100000000,3,")
    assert draw(steps, tmp_path / "growth.png").read_bytes()[:4] == b"\x89PNG"
    assert "| 3,000 | flat, anew | 1.0000 | 1.50 | 2.00 | 0.10 | 100 | 3.0 | 0 | 0 |" in markdown(steps)
    assert steps_to(20_000) == [1000, 3000, 10_000, 20_000]


class Halting:
    """Sees only ``effort`` hundredths of the rows."""

    name, module, holds_tokens = "halting", "numpy", False
    efforts = (10, 50, 100)

    def build(self, tokens_RD: Half, folder: Path) -> object:
        def hits(vector: Vector, wanted: int, effort: int) -> np.ndarray:
            scores = tokens_RD[: len(tokens_RD) * effort // 100].astype(np.float32) @ vector
            return np.argsort(-scores, kind="stable")[:wanted]

        return hits

    def index_bytes(self) -> int:
        return 1000


def test_another_index_is_asked_with_an_effort_that_is_good_enough(
    collection: ScaleCollection, source: Source, tmp_path: Path
) -> None:
    tokens, system = tokens_of(collection, BLOCK), Halting()
    hits = system.build(tokens.reshape(-1, DIM), tmp_path)
    truth = collection.best(BLOCK, 100)
    found = tuned(system, hits, source.queries, truth, tokens, 1.0)  # type: ignore[arg-type]
    assert found.recall >= TARGET - 0.01
    assert found.how.endswith("effort 100")
    assert (found.index_bytes, found.token_bytes) == (1000 / BLOCK, 2 * QUERIES * DIM)
