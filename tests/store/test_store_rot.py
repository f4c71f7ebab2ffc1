"""What is read is what was written, or it is not read: rows of segments, generations, both file versions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import CorruptionError, SightlineError, UnavailableError
from sightline.store.flat.backend import FlatBackend
from sightline.store.flat.settling import ENOUGH, SettlingIndex
from sightline.store.index import BuildRequest
from sightline.store.records import ImageLocation
from sightline.store.segments import SegmentReader, rewrite_segment, write_segment
from tests.rot import mutate
from tests.store.old_formats import write_old_generation, write_old_segment
from tests.store.token_world import Published, random_tokens, random_vector, write_segments

LATENT = "latent-0123456789ab"
IMAGES = 12


def segment(folder: Path, codec: str, first: int = 0) -> tuple[str, np.ndarray, list[np.ndarray]]:
    """File, keys, and what it holds: tokens, then what the codec keeps."""
    rng = np.random.default_rng(first)
    keys, tokens = np.arange(first, first + IMAGES), random_tokens(rng, IMAGES)
    kept: list[np.ndarray] = []
    if codec == "fp16":
        kept = [rng.standard_normal((IMAGES, 5, 6)).astype(np.float16)]
    elif codec != "none":
        codes = rng.integers(-127, 128, (IMAGES, 5, 6), dtype=np.int8)
        kept = [codes, rng.random((IMAGES, 5)).astype(np.float16)]
    patches, scales, *_ = [*kept, None, None]
    return write_segment(folder, keys, tokens, patches, codec, scales).file, keys, [tokens, *kept]


def places(file: str, keys: np.ndarray, codec: str) -> list[ImageLocation]:
    return [ImageLocation(int(key), 1, file, row, codec) for row, key in enumerate(keys)]


@pytest.mark.parametrize("codec", ["fp16", "int8", LATENT])
def test_whatever_happens_to_a_segment_every_row_that_is_read_is_right(tmp_path: Path, codec: str) -> None:
    rng = np.random.default_rng(1)
    file, keys, (tokens, *kept) = segment(tmp_path, codec)
    segment(tmp_path, codec, 100)  # for swaps
    files = sorted(tmp_path.iterdir())
    reader, found_damaged = SegmentReader(tmp_path), 0
    for _ in range(150):
        mutation = mutate(files, rng)
        for look in (reader, SegmentReader(tmp_path)):
            try:
                sound, found = look.sound_tokens(file)
                assert np.array_equal(found, tokens[np.isin(keys, sound)]), mutation.what
                gathering = look.gather_sound(places(file, keys, codec))
            except SightlineError:
                found_damaged += 1
                continue
            for group in gathering.groups:
                assert np.array_equal(group.patches, kept[0][group.positions]), mutation.what
                if group.scales is not None:
                    assert np.array_equal(group.scales, kept[1][group.positions]), mutation.what
            found_damaged += bool(gathering.lost)
        mutation.undo()
        assert len(reader.damaged_rows(file)) == 0
    assert found_damaged > 100


@pytest.mark.parametrize("codec", ["none", "fp16", LATENT])
def test_the_rows_that_are_damaged_are_named_and_the_others_are_kept(tmp_path: Path, codec: str) -> None:
    file, keys, arrays = segment(tmp_path, codec)
    original = (tmp_path / file).read_bytes()
    rng = np.random.default_rng(2)
    start = 8 + int.from_bytes(original[:8], "little") + keys.nbytes
    for which, array in enumerate(arrays):
        for row in rng.integers(IMAGES, size=6):
            damaged = bytearray(original)
            damaged[start + int(row) * array[0].nbytes + int(rng.integers(array[0].nbytes))] ^= 4
            (tmp_path / file).write_bytes(damaged)
            reader = SegmentReader(tmp_path)
            assert reader.damaged_rows(file).tolist() == [row]
            found = reader.read_sound(file)
            assert np.flatnonzero(~found.tokens).tolist() == ([row] if which == 0 else [])
            assert np.flatnonzero(~found.patches).tolist() == ([] if which == 0 else [row])
            others = np.arange(IMAGES) != row
            for expected, content in zip(arrays, (found.content.tokens, found.content.patches), strict=False):
                assert np.array_equal(content[others], expected[others])
            assert reader.is_known_damaged(file)
            assert reader.is_known_damaged(file, tokens_only=True) == (which == 0)
        start += array.nbytes
    (tmp_path / file).write_bytes(original)
    assert not reader.is_known_damaged(file), "somebody brought it back"


def test_a_sound_segment_in_the_place_of_another_one_is_found(tmp_path: Path) -> None:
    file, keys, _ = segment(tmp_path, "fp16")
    other = write_segment(tmp_path, keys, random_tokens(np.random.default_rng(9), IMAGES), None, "none").file
    reader = SegmentReader(tmp_path)
    assert np.array_equal(reader.keys(file), keys)
    os.replace(tmp_path / other, tmp_path / file)
    for look in (reader, SegmentReader(tmp_path)):
        with pytest.raises(CorruptionError, match="not what was written"):
            look.tokens(file)


@pytest.mark.parametrize("codec", ["fp16", LATENT])
def test_a_damaged_row_is_never_copied_and_nothing_is_left(tmp_path: Path, codec: str) -> None:
    file, _, arrays = segment(tmp_path, codec)
    sound, _, _ = segment(tmp_path, codec, 100)
    data = bytearray((tmp_path / file).read_bytes())
    data[-8 - IMAGES * 8 * len(arrays) - 5] ^= 1  # in the last tensor before the checksums
    (tmp_path / file).write_bytes(data)
    before = sorted(path.name for path in tmp_path.iterdir())
    reader = SegmentReader(tmp_path)
    with pytest.raises(CorruptionError):
        rewrite_segment(reader, [Published(1, sound), Published(2, file)], np.arange(200))
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    merged = rewrite_segment(reader, [Published(1, sound), Published(2, file)], np.arange(90, 200))
    assert merged.keys.tolist() == list(range(100, 100 + IMAGES)), "none of its rows was wanted"


# --- files of version 1 -------------------------------------------------------------------------------------


def old_segment(folder: Path) -> tuple[str, str, list[np.ndarray]]:
    rng = np.random.default_rng(3)
    arrays = [
        np.arange(IMAGES),
        random_tokens(rng, IMAGES),
        rng.standard_normal((IMAGES, 5, 6)).astype(np.float16),
    ]
    return (*write_old_segment(folder, *arrays), arrays)


def test_an_old_segment_is_verified_whole_before_anything_of_it_is_used(tmp_path: Path) -> None:
    file, sha256, (keys, tokens, patches) = old_segment(tmp_path)
    original = (tmp_path / file).read_bytes()
    reader = SegmentReader(tmp_path, sha256_of={file: sha256}.get)
    assert np.array_equal(reader.tokens(file)[1], tokens)
    assert np.array_equal(reader.gather(places(file, keys, "fp16"))[0].patches, patches)
    for position in np.random.default_rng(4).integers(0, len(original), 40):
        damaged = bytearray(original)
        damaged[position] ^= 0x20
        (tmp_path / file).write_bytes(damaged)
        with pytest.raises(CorruptionError):  # though it was verified once: somebody wrote to it
            reader.keys(file)
    (tmp_path / file).write_bytes(original)
    assert np.array_equal(reader.tokens(file)[1], tokens)
    with pytest.raises(CorruptionError, match="Nothing says"):
        SegmentReader(tmp_path).keys(file)


def test_rewriting_an_old_segment_gives_it_checksums(tmp_path: Path) -> None:
    file, sha256, (_, tokens, patches) = old_segment(tmp_path)
    reader = SegmentReader(tmp_path, sha256_of={file: sha256}.get)
    new = rewrite_segment(reader, [Published(1, file)], np.arange(IMAGES))
    (tmp_path / file).unlink()
    read = SegmentReader(tmp_path).read(new.file)
    assert np.array_equal(read.tokens, tokens)
    assert np.array_equal(read.patches, patches)


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_an_old_generation_opens_and_a_damaged_one_does_not(tmp_path: Path, memory: int) -> None:
    keys, tokens = np.arange(30), random_tokens(np.random.default_rng(5), 30)
    file, sha256 = write_old_generation(tmp_path, keys, tokens)
    backend = FlatBackend(tmp_path, memory_bytes=memory)
    assert np.array_equal(backend.open(file, sha256).tokens, tokens)
    original = (tmp_path / file).read_bytes()
    for position in np.random.default_rng(6).integers(0, len(original), 30):
        damaged = bytearray(original)
        damaged[position] ^= 1
        (tmp_path / file).write_bytes(damaged)
        with pytest.raises(CorruptionError):
            backend.open(file, sha256)


# --- generations --------------------------------------------------------------------------------------------


def generation(folder: Path, memory: int) -> tuple[FlatBackend, str, str, np.ndarray]:
    tokens = random_tokens(np.random.default_rng(7), 60)
    reader, segments = write_segments(folder / "segments", np.arange(60), tokens, 20)
    backend = FlatBackend(folder / "generations", memory_bytes=memory)
    built = backend.build(reader, BuildRequest(segments, np.empty(0, np.int64)))
    return backend, built.file, built.sha256, tokens


def settled(backend: FlatBackend, file: str, sha256: str) -> SettlingIndex:
    """Opened, and asked often enough that it is in memory if it may be."""
    index = backend.open(file, sha256)
    assert isinstance(index, SettlingIndex)
    for _ in range(ENOUGH):
        index.candidates(random_vector(np.random.default_rng(0))[None], 3, None, None)
    assert index.settled(60.0)
    return index


def test_the_first_answer_waits_for_no_copy_and_is_that_of_the_copy(tmp_path: Path) -> None:
    backend, file, sha256, tokens = generation(tmp_path, 1 << 20)
    index = backend.open(file, sha256)
    vectors = random_vector(np.random.default_rng(0))[None]
    (first,) = index.candidates(vectors, 5, None, None)
    assert index.map is not None, "a process that asks once makes no copy"
    later = settled(backend, file, sha256)
    assert later.map is None
    (again,) = later.candidates(vectors, 5, None, None)
    assert first.tolist() == again.tolist()
    assert np.array_equal(index.tokens_at(first), later.tokens_at(again))
    assert np.array_equal(later.tokens_at(again), tokens.reshape(-1, tokens.shape[2])[again])


def test_what_is_damaged_before_it_is_copied_never_answers_from_the_copy(tmp_path: Path) -> None:
    backend, file, sha256, _ = generation(tmp_path, 1 << 20)
    index = backend.open(file, sha256)
    path = tmp_path / "generations" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert not index.is_intact(), "it is dropped before the next query"
    for _ in range(ENOUGH):
        index.candidates(random_vector(np.random.default_rng(0))[None], 3, None, None)
    assert isinstance(index, SettlingIndex)
    assert index.settled(60.0)
    assert index.map is not None
    with pytest.raises(CorruptionError):
        backend.open(file, sha256)


def test_an_index_that_faiss_needs_a_copy_of_is_refused_where_there_is_no_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Read by a FAISS that cannot view it in place."""
    _, file, sha256, tokens = generation(tmp_path, 0)
    folder, size = tmp_path / "generations", tokens.nbytes
    small = FlatBackend(folder, memory_bytes=size - 1, view=lambda content, rows: None)
    with pytest.raises(UnavailableError, match=r"^The installed FAISS cannot search .* or allow more\.$"):
        small.open(file, sha256)
    large = FlatBackend(folder, memory_bytes=size, view=lambda content, rows: None)
    for _ in range(2):  # what is dropped gives its room back
        index = large.open(file, sha256)
        vectors = random_vector(np.random.default_rng(0))[None]
        (rows,) = index.candidates(vectors, 60, None, None)
        scores = tokens.reshape(-1, tokens.shape[2]).astype(np.float64) @ vectors[0]
        assert scores[rows[0]] == pytest.approx(scores.max(), abs=1e-6)
        del index
    assert "FAISS cannot search the index in place" in caplog.text


def test_what_is_in_memory_cannot_be_written_to_and_what_is_mapped_says_when_it_was(tmp_path: Path) -> None:
    for memory in (1 << 20, 0):
        backend, file, sha256, tokens = generation(tmp_path / str(memory), memory)
        index = settled(backend, file, sha256)
        assert index.is_intact()
        path = tmp_path / str(memory) / "generations" / file
        path.write_bytes(b"\0" * path.stat().st_size)
        assert index.is_intact() == bool(memory)
        if memory:
            assert np.array_equal(index.tokens, tokens)


def test_generations_take_no_more_memory_than_they_may_and_give_it_back(tmp_path: Path) -> None:
    backend, file, sha256, _ = generation(tmp_path, 0)
    size = (tmp_path / "generations" / file).stat().st_size
    backend = FlatBackend(tmp_path / "generations", memory_bytes=2 * size + size // 2)
    opened = [settled(backend, file, sha256) for _ in range(3)]
    assert [one.map is None for one in opened] == [True, True, False]
    del opened[0]
    assert settled(backend, file, sha256).map is None


def test_another_sound_generation_in_the_place_of_one_is_found(tmp_path: Path) -> None:
    backend, file, sha256, _ = generation(tmp_path, 1 << 20)
    tokens = random_tokens(np.random.default_rng(8), 60)
    reader, segments = write_segments(tmp_path / "others", np.arange(60), tokens, 60)
    other = backend.build(reader, BuildRequest(segments, np.empty(0, np.int64)))
    os.replace(tmp_path / "generations" / other.file, tmp_path / "generations" / file)
    with pytest.raises(CorruptionError):
        backend.open(file, sha256)
