"""Approximate indexes in files: recall on texts that nothing learned from, growth, purges, damage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import CorruptionError, InputError, SightlineError, UnavailableError
from sightline.faultpoint import VARIABLE
from sightline.retriever.max_sim import Part, search
from sightline.store.durable import FileMissingError
from sightline.store.index import BuildRequest, BuiltIndex, CandidateIndex
from sightline.store.ivf import IvfBackend
from sightline.store.records import IVF_RABITQ, IVF_SQ8
from sightline.store.sample_texts import GENERAL, SampleTexts
from sightline.store.tensorfile import open_tensors
from tests.store.ivf_grower import small_world
from tests.store.ivf_world import IvfWorld, StoredName, exact_best
from tests.store.token_world import unit, write_segments

ROOT = Path(__file__).parents[2]
IMAGES = 20_000
KINDS = (IVF_RABITQ, IVF_SQ8)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> IvfWorld:
    return IvfWorld.drawn(tmp_path_factory.mktemp("ivf"), IMAGES, 500, 60, 2500)


@pytest.fixture(scope="module")
def built(world: IvfWorld) -> dict[str, BuiltIndex]:
    return {kind: world.build(world.backend(kind), world.segments) for kind in KINDS}


@pytest.fixture(scope="module")
def born(tmp_path_factory: pytest.TempPathFactory) -> tuple[IvfWorld, dict[str, BuiltIndex]]:
    """2,400 images in 24 segments, and a generation of each kind over all of them."""
    born = IvfWorld.drawn(tmp_path_factory.mktemp("small"), 2400, 320, 25, 100)
    return born, {kind: born.build(born.backend(kind), born.segments) for kind in KINDS}


@pytest.fixture
def small(born: tuple[IvfWorld, dict[str, BuiltIndex]], tmp_path: Path) -> IvfWorld:
    """A copy of that world, to be grown and damaged."""
    return born[0].copied(tmp_path / "copy")


@pytest.fixture
def whole(born: tuple[IvfWorld, dict[str, BuiltIndex]]) -> dict[str, BuiltIndex]:
    """The generations over all its segments."""
    return born[1]


def recall(world: IvfWorld, index: CandidateIndex, count: int, allowed: np.ndarray | None = None) -> float:
    """The part of the exact best that a search finds; ``allowed`` and the index's keys are by key."""
    living = np.isin(world.keys, index.keys)
    if allowed is not None:
        living &= np.isin(world.keys, allowed)
    mask = None if allowed is None else np.isin(index.keys, allowed)
    shares = []
    for vector in world.asked:
        right = exact_best(world.keys, world.tokens, vector, count, living)
        found = search(Part(index, mask), [], vector, count).keys
        shares.append(np.isin(right, found).mean())
    return float(np.mean(shares))


# --- what is found ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_is_met_for_texts_that_nothing_learned_from(
    world: IvfWorld, built: dict[str, BuiltIndex], kind: str
) -> None:
    index = world.open(world.backend(kind), built[kind])
    assert not index.exact
    assert built[kind].recall >= 0.99
    assert index.recall == built[kind].recall == built[kind].parameters["recall"]
    assert recall(world, index, 100) >= 0.99
    assert recall(world, index, 10) >= 0.97


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_loses_no_recall(
    world: IvfWorld, built: dict[str, BuiltIndex], kind: str, share: float
) -> None:
    index = world.open(world.backend(kind), built[kind])
    rng = np.random.default_rng(3)
    allowed = rng.choice(world.keys, int(share * IMAGES), replace=False)
    assert recall(world, index, 100, allowed) >= 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_every_score_is_that_of_all_tokens_bit_by_bit(
    world: IvfWorld, built: dict[str, BuiltIndex], kind: str
) -> None:
    backend = world.backend(kind)
    index = world.open(backend, built[kind])
    rows = np.argsort(world.keys)
    for vector in world.asked[:20]:
        found = search(Part(index), [], vector, 50)
        for key, score in zip(found.keys.tolist(), found.scores.tolist(), strict=True):
            tokens = world.tokens[rows[np.searchsorted(world.keys, key, sorter=rows)]]
            terms = tokens.astype(np.float64) * vector
            assert score == terms.sum(axis=1).max()


@pytest.mark.parametrize("wanted", [1, 10, 400, 3000, IMAGES])
def test_as_many_as_are_wanted_are_named(world: IvfWorld, built: dict[str, BuiltIndex], wanted: int) -> None:
    index = world.open(world.backend(IVF_RABITQ), built[IVF_RABITQ])
    shares = []
    for vector in world.asked[:8]:
        found = search(Part(index), [], vector, wanted).keys
        right = exact_best(world.keys, world.tokens, vector, wanted, np.ones(IMAGES, bool))
        assert len(found) == wanted
        shares.append(np.isin(right, found).mean())
    assert np.mean(shares) >= 0.95


def test_one_that_was_opened_without_segments_tells_its_keys_and_says_why_it_does_not_search(
    world: IvfWorld, built: dict[str, BuiltIndex]
) -> None:
    one = built[IVF_SQ8]
    index = world.backend(IVF_SQ8).open(one.file, one.sha256)
    assert sorted(index.keys.tolist()) == sorted(world.keys.tolist())
    with pytest.raises(UnavailableError, match="without its segments"):
        index.candidates(world.asked[:1], 5, None, None)


def test_a_tenth_of_the_cells_is_searched_when_that_is_asked(
    world: IvfWorld, built: dict[str, BuiltIndex]
) -> None:
    index = world.open(world.backend(IVF_SQ8), built[IVF_SQ8])
    right = [
        set(exact_best(world.keys, world.tokens, vector, 100, np.ones(IMAGES, bool)).tolist())
        for vector in world.asked
    ]
    shares = []
    for probes in (1, 4096):
        found = [search(Part(index), [], vector, 100, probes).keys.tolist() for vector in world.asked]
        shares.append(np.mean([len(best & set(keys)) / 100 for best, keys in zip(right, found, strict=True)]))
    assert shares[0] < shares[1]
    assert shares[1] >= 0.99


# --- what it learns from --------------------------------------------------------------------------------


def test_without_texts_nothing_is_built_and_the_sentence_says_what_to_do(small: IvfWorld) -> None:
    backend = small.backend(IVF_RABITQ, "nothing")
    with pytest.raises(InputError, match="sample texts"):
        backend.build(small.reader, BuildRequest(small.segments, np.empty(0, np.int64)))
    assert backend.files.stored() == set()


def test_texts_of_another_domain_are_known_by_what_is_measured_with_them(small: IvfWorld) -> None:
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((240, small.tokens.shape[2])).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = SampleTexts("strange", vectors, np.full(240, GENERAL, np.int8))
    backend = small.backend(IVF_SQ8)
    built = backend.build(small.reader, BuildRequest(small.segments, np.empty(0, np.int64), texts=texts))
    assert built.parameters["texts"] == "general"
    assert built.parameters["tokens_kept_apart"]
    assert recall(small, small.open(backend, built), 100) >= 0.95, "tokens that lie apart are kept as well"


# --- growth ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_growing_by_many_folds_loses_no_key_and_finds_what_a_new_one_finds(
    small: IvfWorld, kind: str
) -> None:
    backend = small.backend(kind, "grown")
    built = small.build(backend, small.segments[:8])
    rng = np.random.default_rng(1)
    dead = np.empty(0, np.int64)
    for end in (9, 10, 11, 13, 14, 17, 21, 24):
        old = built
        dead = np.union1d(dead, rng.choice(small.keys[: end * 100], 30, replace=False))
        built = small.build(backend, small.segments[:end], dead, StoredName.of(old))
        backend.remove(old.file)
        backend.verify(built.file, built.sha256)
        expected = set(small.keys[: end * 100].tolist()) - set(dead.tolist())
        index = small.open(backend, built)
        assert set(index.keys.tolist()) == expected
        assert len(index.keys) == built.images == len(expected)
        assert built.parameters["parts"] <= 8
    named = {built.file, *built.parameters["files"]}
    assert backend.files.stored() == named, "what nobody names any more is gone"
    anew = small.build(small.backend(kind, "anew"), small.segments, dead)
    there = small.open(small.backend(kind, "anew"), anew)
    assert recall(small, index, 100) >= min(0.99, recall(small, there, 100)) - 0.005


def test_a_deletion_of_thirty_percent_loses_no_recall_and_no_part_keeps_more_dead_than_that(
    small: IvfWorld,
    whole: dict[str, BuiltIndex],
) -> None:
    backend = small.backend(IVF_RABITQ)
    first = whole[IVF_RABITQ]
    dead = np.random.default_rng(2).choice(small.keys, 720, replace=False)
    index = small.open(backend, first)
    assert recall(small, index, 100, np.setdiff1d(small.keys, dead)) >= 0.99
    fewer = small.build(backend, small.segments, dead[:600], StoredName.of(first))
    assert first.parameters["files"][2:] == fewer.parameters["files"][2:], "no part is written again"
    assert (fewer.parameters["hidden"], fewer.images) == (600, 1800)
    assert recall(small, small.open(backend, fewer), 100) >= 0.99
    most = np.union1d(dead, small.keys[:400])
    rewritten = small.build(backend, small.segments, most, StoredName.of(fewer))
    assert rewritten.parameters["hidden"] == 0
    assert recall(small, small.open(backend, rewritten), 100) >= 0.99


def test_an_image_that_comes_back_is_found_again(small: IvfWorld, whole: dict[str, BuiltIndex]) -> None:
    backend = small.backend(IVF_SQ8)
    first = whole[IVF_SQ8]
    back = small.keys[50]
    without = small.build(backend, small.segments, small.keys[40:60], StoredName.of(first))
    again = small.build(
        backend, small.segments, np.setdiff1d(small.keys[40:60], [back]), StoredName.of(without)
    )
    index = small.open(backend, again)
    assert (index.keys == back).sum() == 1
    vector = small.tokens[50, 0].astype(np.float32)
    found = search(Part(index), [], vector / np.linalg.norm(vector), 5).keys
    assert back in found


def test_a_purge_leaves_a_dead_key_in_no_file(small: IvfWorld) -> None:
    backend = small.backend(IVF_RABITQ, "grown")
    first = small.build(backend, small.segments[:12])
    second = small.build(backend, small.segments, serving=StoredName.of(first))
    dead = np.random.default_rng(4).choice(small.keys, 6, replace=False)
    strict = small.build(backend, small.segments, dead, StoredName.of(second), strict=True)
    backend.remove(first.file)
    backend.remove(second.file)
    assert backend.files.stored() == {strict.file, *strict.parameters["files"]}
    for name in backend.files.stored():
        arrays = open_tensors(small.folder / "grown" / name).arrays
        numbers = [array.ravel() for array in arrays.values() if array.dtype == np.int64]
        assert not np.isin(np.concatenate(numbers), dead).any(), name
    assert not np.isin(small.open(backend, strict).keys, dead).any()


def test_what_may_have_learned_from_a_purged_caption_is_to_be_built_anew(small: IvfWorld) -> None:
    backend = small.backend(IVF_RABITQ, "purged")
    first = small.build(backend, small.segments[:12])
    assert first.parameters["retrain"] is None
    strict = small.build(backend, small.segments[:12], small.keys[:1], StoredName.of(first), strict=True)
    assert "purged" in strict.parameters["retrain"]
    later = small.build(backend, small.segments, small.keys[:1], StoredName.of(strict))
    assert "purged" in later.parameters["retrain"], "growing on does not make it forget"
    anew = small.build(backend, small.segments, small.keys[:1])
    assert anew.parameters["retrain"] is None


def test_images_of_one_kind_make_cells_uneven_and_that_is_a_reason_to_learn_anew(small: IvfWorld) -> None:
    backend = small.backend(IVF_SQ8, "uneven")
    first = small.build(backend, small.segments)
    noise = 0.01 * np.random.default_rng(3).standard_normal((3000, *small.tokens.shape[1:]))
    alike = unit(small.tokens[0].astype(np.float32) + noise).astype(np.float16)
    keys = np.arange(10**6, 10**6 + len(alike))
    _, more = write_segments(small.reader.folder, keys, alike, 1000, first_id=len(small.segments) + 1)
    grown = small.build(backend, [*small.segments, *more], serving=StoredName.of(first))
    assert grown.parameters["uneven"] > 2 * grown.parameters["uneven_at_first"] >= 2
    assert grown.parameters["retrain"] is not None


def test_reading_most_cells_since_it_has_grown_is_a_reason_to_learn_anew(small: IvfWorld) -> None:
    backend = small.backend(IVF_SQ8, "strained")
    first = small.build(backend, small.segments[:2])
    grown = small.build(backend, small.segments[:6], serving=StoredName.of(first))
    assert grown.parameters["efforts"][0]["probes"] >= grown.parameters["cells"] / 2, "or it shows nothing"
    assert "cells" in grown.parameters["retrain"]
    anew = small.build(backend, small.segments[:6])
    assert anew.parameters["retrain"] is None


def test_erasing_a_key_takes_every_part_and_manifest_that_holds_it(small: IvfWorld) -> None:
    backend = small.backend(IVF_SQ8, "grown")
    first = small.build(backend, small.segments[:12])
    second = small.build(backend, small.segments[12:])
    backend.erase(small.keys[:1])
    left = backend.files.stored()
    assert first.file not in left
    backend.verify(second.file, second.sha256)


def test_files_that_another_generation_shares_outlive_the_one_that_is_removed(small: IvfWorld) -> None:
    backend = small.backend(IVF_RABITQ, "grown")
    first = small.build(backend, small.segments[:20])
    second = small.build(backend, small.segments, serving=StoredName.of(first))
    assert set(first.parameters["files"]) & set(second.parameters["files"])
    backend.remove(first.file)
    backend.verify(second.file, second.sha256)
    backend.remove(second.file)
    assert backend.files.stored() == set()


# --- damage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_damage_anywhere_is_found_by_whoever_verifies_and_never_changes_a_score(
    small: IvfWorld, whole: dict[str, BuiltIndex], kind: str
) -> None:
    backend = small.backend(kind)
    built = whole[kind]
    rng = np.random.default_rng(6)
    for name in built.parameters["files"]:
        path = small.folder / "generations" / name
        original = path.read_bytes()
        for position in rng.integers(0, len(original), 12):
            damaged = bytearray(original)
            damaged[position] ^= 0x41
            path.write_bytes(damaged)
            with pytest.raises(CorruptionError):
                backend.verify(built.file, built.sha256)
            assert backend.report(built.file, built.sha256).problem is not None
            assert_sound_or_refused(small, backend, built)
        path.write_bytes(original)
    backend.verify(built.file, built.sha256)


def assert_sound_or_refused(small: IvfWorld, backend: IvfBackend, built: BuiltIndex) -> None:
    """Either it does not open, or every score that it leads to is right."""
    try:
        index = small.open(backend, built)
    except CorruptionError:
        return
    positions = np.argsort(small.keys)
    for vector in small.asked[:3]:
        found = search(Part(index), [], vector, 20)
        at = positions[np.searchsorted(small.keys, found.keys, sorter=positions)]
        terms = small.tokens[at].astype(np.float64) * vector
        assert np.array_equal(terms.sum(axis=2).max(axis=1), found.scores)


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_is_missing_or_cut_off_is_said_to_be(
    small: IvfWorld, whole: dict[str, BuiltIndex], kind: str
) -> None:
    backend = small.backend(kind)
    built = whole[kind]
    for name in built.parameters["files"]:
        path = small.folder / "generations" / name
        original = path.read_bytes()
        path.write_bytes(original[: len(original) // 2])
        with pytest.raises(SightlineError):
            small.open(backend, built)
        path.unlink()
        for look in (backend.open, backend.verify):
            with pytest.raises(FileMissingError, match=name):
                look(built.file, built.sha256)
        with pytest.raises(FileMissingError, match=name):
            backend.verify(built.file, built.sha256, quick=True)
        path.write_bytes(original)


def test_what_is_mapped_is_dropped_untouched_when_somebody_wrote_to_it(
    small: IvfWorld, whole: dict[str, BuiltIndex]
) -> None:
    backend = small.backend(IVF_SQ8)
    built = whole[IVF_SQ8]
    index = small.open(backend, built)
    assert index.is_intact()
    path = small.folder / "generations" / built.parameters["files"][2]
    path.write_bytes(path.read_bytes()[:-4096])
    assert not index.is_intact()


@pytest.mark.parametrize("point", ["ivf.part", "ivf.manifest", "file.aside:2", "file.renamed:2"])
def test_a_build_that_is_killed_leaves_what_serves_and_what_it_left_is_known_as_its_own(
    tmp_path: Path, point: str
) -> None:
    world = small_world(tmp_path)
    backend = world.backend(IVF_SQ8)
    served = world.build(backend, world.segments[:4])
    command = [sys.executable, "-m", "tests.store.ivf_grower", str(tmp_path), served.file, served.sha256]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, VARIABLE: point}, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, "nobody came by"
    index = world.open(backend, served)
    backend.verify(served.file, served.sha256)
    assert len(search(Part(index), [], world.asked[0], 20).keys) == 20
    assert backend.files.stored() == {path.name for path in (tmp_path / "generations").iterdir()}
    grown = world.build(backend, world.segments, serving=StoredName.of(served))
    assert set(world.open(backend, grown).keys.tolist()) == set(world.keys.tolist())


def test_a_serving_generation_that_is_damaged_is_not_grown_but_built_anew(small: IvfWorld) -> None:
    backend = small.backend(IVF_RABITQ)
    first = small.build(backend, small.segments[:20])
    (small.folder / "generations" / first.parameters["files"][2]).unlink()
    second = small.build(backend, small.segments, serving=StoredName.of(first))
    backend.verify(second.file, second.sha256)
    assert not set(first.parameters["files"]) & set(second.parameters["files"])
    assert len(small.open(backend, second).keys) == 2400


def test_images_whose_tokens_are_damaged_are_left_out_and_others_take_their_place(
    small: IvfWorld, whole: dict[str, BuiltIndex]
) -> None:
    backend = small.backend(IVF_RABITQ)
    built = whole[IVF_RABITQ]
    path = small.reader.path(small.segments[3])
    assert path is not None
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x20
    path.write_bytes(content)
    index = small.open(backend, built)
    for vector in small.asked:
        assert len(search(Part(index), [], vector, 100).keys) == 100


@pytest.mark.parametrize("kind", KINDS)
def test_a_pictures_tokens_find_images_like_it(
    kind: str, born: tuple[IvfWorld, dict[str, BuiltIndex]]
) -> None:
    """The lists hold tokens that win for texts; whom they name for a picture is scored exactly."""
    from sightline.retriever.max_sim import Part
    from sightline.retriever.similarity import QueryTokens, similar

    world, index = born[0], born[0].open(born[0].backend(kind), born[1][kind])
    shares = []
    for row in (3, 700, 1500, 2300):
        query = world.tokens[row].astype(np.float64)
        scores = (world.tokens.astype(np.float64) @ query.T).max(axis=1).mean(axis=1)
        found = similar(Part(index), [], QueryTokens(world.tokens[row]), 50, exclude=int(world.keys[row]))
        exact = dict(zip(world.keys.tolist(), scores.tolist(), strict=True))
        assert found.scores == pytest.approx([exact[key] for key in found.keys.tolist()], abs=1e-12)
        scores[row] = -1
        shares.append(np.isin(world.keys[np.argsort(-scores)[:50]], found.keys).mean())
    assert np.mean(shares) >= 0.9
