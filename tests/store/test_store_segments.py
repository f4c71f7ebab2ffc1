"""Segments hold exactly what was written, whole or not at all."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sightline.errors import CorruptionError, InputError, NotFoundError
from sightline.store.durable import ASIDE, FileMissingError, write_durably
from sightline.store.records import ImageLocation
from sightline.store.segments import SegmentReader, rewrite_segment, write_segment
from tests.store.token_world import Published, random_tokens


def content(first_key: int, images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed + first_key)
    patches = rng.standard_normal((images, 5, 6)).astype(np.float16)
    return np.arange(first_key, first_key + images), random_tokens(rng, images), patches


def locations(file: str, keys: np.ndarray, rows: list[int]) -> list[ImageLocation]:
    return [ImageLocation(int(keys[row]), 1, file, row, "fp16") for row in rows]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    keys, tokens, patches = content(100, 7)
    written = write_segment(tmp_path, keys, tokens, patches, "fp16")
    reader = SegmentReader(tmp_path)
    read = reader.read(written.file)
    assert read.codec == "fp16"
    for expected, found in zip((keys, tokens, patches), read, strict=False):
        assert expected.dtype == found.dtype
        assert np.array_equal(expected, found)
    data = (tmp_path / written.file).read_bytes()
    assert (written.sha256, written.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    reader.verify(written.file, written.sha256)
    reader.verify_tokens(written.file)
    assert reader.damaged_rows(written.file).tolist() == []
    assert os.listdir(tmp_path) == [written.file]


def test_the_safetensors_package_reads_the_file(tmp_path: Path) -> None:
    keys, tokens, patches = content(100, 7)
    written = write_segment(tmp_path, keys, tokens, patches, "fp16")
    loaded = load_file(tmp_path / written.file)
    assert set(loaded) == {"keys", "tokens", "patches", "sums", "seal"}
    assert np.array_equal(loaded["tokens"], tokens)
    assert np.array_equal(loaded["patches"], patches)


def test_patches_come_in_the_order_asked_for_from_several_segments(tmp_path: Path) -> None:
    first, second = content(0, 6), content(50, 4)
    files = [write_segment(tmp_path, *c, "fp16").file for c in (first, second)]
    asked = [*locations(files[1], second[0], [3, 0]), *locations(files[0], first[0], [5, 1, 5])]
    asked.insert(1, asked.pop())
    found = SegmentReader(tmp_path).gather(asked)[0].patches
    expected = np.stack([(first if a.file == files[0] else second)[2][a.row] for a in asked])
    assert np.array_equal(found, expected)


def test_a_row_with_another_key_is_corruption(tmp_path: Path) -> None:
    keys, tokens, patches = content(0, 6)
    file = write_segment(tmp_path, keys, tokens, patches, "fp16").file
    reader = SegmentReader(tmp_path)
    for row in (2, 6, -1):
        with pytest.raises(CorruptionError, match="disagree"):
            reader.gather([ImageLocation(3, 1, file, row, "fp16")])


def test_a_segment_without_patches_says_so(tmp_path: Path) -> None:
    keys, tokens, _ = content(0, 6)
    file = write_segment(tmp_path, keys, tokens, None, "none").file
    reader = SegmentReader(tmp_path)
    assert np.array_equal(reader.tokens(file)[1], tokens)
    with pytest.raises(NotFoundError, match="without patches"):
        reader.gather(locations(file, keys, [0]))


def test_a_file_that_was_removed_is_missing_but_what_was_handed_out_stays(tmp_path: Path) -> None:
    keys, tokens, patches = content(0, 6)
    file = write_segment(tmp_path, keys, tokens, patches, "fp16").file
    reader = SegmentReader(tmp_path)
    held = reader.tokens(file)[1]
    (tmp_path / file).unlink()
    reader.forget(file)
    assert np.array_equal(held, tokens)
    with pytest.raises(FileMissingError, match="missing"):
        reader.tokens(file)
    with pytest.raises(FileMissingError):
        reader.verify(file, "0" * 64)


def test_no_file_stays_open(tmp_path: Path) -> None:
    files = [write_segment(tmp_path, *content(10 * i, 3), "fp16").file for i in range(12)]
    reader = SegmentReader(tmp_path, max_open=4)
    before = len(os.listdir("/proc/self/fd"))
    for file in files:
        reader.tokens(file)
    assert len(os.listdir("/proc/self/fd")) == before


def test_readers_in_many_threads_see_the_same(tmp_path: Path) -> None:
    contents = [content(10 * i, 10) for i in range(10)]
    files = [write_segment(tmp_path, *c, "fp16").file for c in contents]
    reader = SegmentReader(tmp_path, max_open=3)

    def check(seed: int) -> bool:
        picks = np.random.default_rng(seed).integers(0, 10, (40, 2))
        asked = [ImageLocation(int(contents[s][0][r]), s, files[s], int(r), "fp16") for s, r in picks]
        expected = np.stack([contents[s][2][r] for s, r in picks])
        return np.array_equal(reader.gather(asked)[0].patches, expected)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(100), timeout=60))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codec": "zip"}, "no patch codec named zip"),
        ({"codec": "none"}, "contradict"),
        ({"patches": None}, "contradict"),
        ({"keys": np.array([1, 1, 2])}, "distinct int64 keys"),
        ({"keys": np.array([1, 2, 3], np.int32)}, "distinct int64 keys"),
        ({"keys": np.empty(0, np.int64)}, "distinct int64 keys"),
        ({"tokens": np.zeros((2, 4, 16), np.float16)}, r"tokens must be fp16 \[3"),
        ({"tokens": np.zeros((3, 4, 16), np.float32)}, "tokens must be fp16"),
        ({"patches": np.full((3, 5, 6), np.inf, np.float16)}, "patches hold values that are infinite"),
        ({"tokens": np.full((3, 4, 16), np.nan, np.float16)}, "tokens hold values that are infinite"),
    ],
)
def test_what_is_no_segment_is_refused_and_leaves_nothing(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    keys, tokens, patches = content(0, 3)
    arguments: dict[str, object] = {"keys": keys, "tokens": tokens, "patches": patches, "codec": "fp16"}
    with pytest.raises(InputError, match=message):
        write_segment(tmp_path, **(arguments | change))  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def chunks():  # type: ignore[no-untyped-def]
        yield b"some"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_durably(tmp_path, "name", chunks())
    assert os.listdir(tmp_path) == []


def test_every_write_has_a_name_of_its_own(tmp_path: Path) -> None:
    names = {write_segment(tmp_path, *content(0, 3), "fp16").file for _ in range(20)}
    assert len(names) == 20
    assert not any(name.startswith(ASIDE) for name in names)


def test_merging_keeps_the_living_rows_of_all_in_order(tmp_path: Path) -> None:
    contents = [content(0, 300), content(1000, 5), content(2000, 4)]
    segments = [Published(i, write_segment(tmp_path, *c, "fp16").file) for i, c in enumerate(contents)]
    rng = np.random.default_rng(1)
    alive = np.concatenate([contents[0][0][rng.random(300) < 0.9], contents[1][0]])
    rng.shuffle(alive)
    reader = SegmentReader(tmp_path)
    merged = rewrite_segment(reader, segments, alive)
    kept = [np.isin(c[0], alive) for c in contents]
    read = reader.read(merged.file)
    for position, found in enumerate((read.keys, read.tokens, read.patches)):
        expected = np.concatenate([c[position][k] for c, k in zip(contents, kept, strict=True)])
        assert np.array_equal(found, expected)
    assert np.array_equal(merged.keys, read.keys)
    assert merged.codec == "fp16"
    reader.verify(merged.file, merged.sha256)
    reader.verify_tokens(merged.file)


def test_merging_refuses_what_does_not_fit_or_is_all_dead(tmp_path: Path) -> None:
    keys, tokens, patches = content(0, 3)
    segments = [
        Published(1, write_segment(tmp_path, keys, tokens, patches, "fp16").file),
        Published(2, write_segment(tmp_path, keys + 10, tokens, None, "none").file),
    ]
    reader = SegmentReader(tmp_path)
    with pytest.raises(InputError, match="codecs"):
        rewrite_segment(reader, segments, np.arange(20))
    with pytest.raises(InputError, match="alive"):
        rewrite_segment(reader, segments, np.array([99]))


def test_two_hundred_flipped_bytes_are_all_found(tmp_path: Path) -> None:
    keys, tokens, patches = content(0, 9)
    written = write_segment(tmp_path, keys, tokens, patches, "fp16")
    path = tmp_path / written.file
    original = path.read_bytes()
    rng = np.random.default_rng(3)
    for position in rng.integers(0, len(original), 200):
        mutated = bytearray(original)
        mutated[position] ^= int(rng.integers(1, 256))
        path.write_bytes(mutated)
        with pytest.raises(CorruptionError):
            SegmentReader(tmp_path).verify(written.file, written.sha256)


def test_a_damaged_header_or_length_is_always_found(tmp_path: Path) -> None:
    keys, tokens, patches = content(0, 9)
    path = tmp_path / write_segment(tmp_path, keys, tokens, patches, "fp16").file
    original = path.read_bytes()
    header = 8 + int.from_bytes(original[:8], "little")
    rng = np.random.default_rng(4)
    damaged = [original[:length] for length in (0, 3, 8, 20, header, len(original) - 1)] + [original + b"x"]
    for position in rng.integers(0, header, 600):
        mutated = bytearray(original)
        mutated[position] ^= int(rng.integers(1, 256))
        damaged.append(bytes(mutated))
    for data in damaged:
        path.write_bytes(data)
        for look in (SegmentReader(tmp_path).read, SegmentReader(tmp_path).keys):
            with pytest.raises(CorruptionError):
                look(path.name)


def test_tokens_that_changed_on_disk_are_found_without_reading_patches(tmp_path: Path) -> None:
    keys, tokens, patches = content(0, 9)
    path = tmp_path / write_segment(tmp_path, keys, tokens, patches, "fp16").file
    original = path.read_bytes()
    header = 8 + int.from_bytes(original[:8], "little")
    for position in np.random.default_rng(5).integers(header, header + keys.nbytes + tokens.nbytes, 50):
        mutated = bytearray(original)
        mutated[position] ^= 1
        path.write_bytes(mutated)
        with pytest.raises(CorruptionError, match="not what was written"):
            SegmentReader(tmp_path).verify_tokens(path.name)
