"""Segments of every codec hold what was written, merge with their like, and are read together by key."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sightline.errors import CorruptionError, InputError
from sightline.store.records import ImageLocation
from sightline.store.segment_content import SegmentContent
from sightline.store.segments import SegmentReader, rewrite_segment, write_segment
from tests.store.token_world import Published, random_tokens

LATENT = "latent-0123456789ab"
OTHER = "latent-ba9876543210"


def content(codec: str, first_key: int, images: int) -> SegmentContent:
    rng = np.random.default_rng(first_key)
    keys, tokens = np.arange(first_key, first_key + images), random_tokens(rng, images)
    if codec == "none":
        return SegmentContent(keys, tokens, None, codec)
    if codec == "fp16":
        return SegmentContent(keys, tokens, rng.standard_normal((images, 5, 6)).astype(np.float16), codec)
    codes = rng.integers(-127, 128, (images, 5, 6 if codec == "int8" else 3)).astype(np.int8)
    scales = rng.random((images, 5)).astype(np.float16)
    return SegmentContent(keys, tokens, codes, codec, scales=scales)


def write(folder: Path, one: SegmentContent) -> str:
    return write_segment(folder, one.keys, one.tokens, one.patches, one.codec, one.scales).file


def locations(file: str, one: SegmentContent, rows: list[int]) -> list[ImageLocation]:
    return [ImageLocation(int(one.keys[row]), 1, file, row, one.codec) for row in rows]


@pytest.mark.parametrize("codec", ["none", "fp16", "int8", LATENT])
def test_what_is_read_is_what_was_written(tmp_path: Path, codec: str) -> None:
    one = content(codec, 10, 7)
    file = write(tmp_path, one)
    read = SegmentReader(tmp_path).read(file)
    assert read.codec == codec
    for expected, found in ((one.patches, read.patches), (one.scales, read.scales)):
        assert (expected is None) == (found is None)
        if expected is not None and found is not None:
            assert expected.dtype == found.dtype
            assert np.array_equal(expected, found)
    names = {name for name, _ in one.kept()}
    assert set(load_file(tmp_path / file)) == {"keys", "tokens", "sums", "seal", *names}


@pytest.mark.parametrize("codec", ["int8", LATENT])
def test_merging_keeps_codes_and_scales_of_the_living(tmp_path: Path, codec: str) -> None:
    parts = [content(codec, 0, 300), content(codec, 1000, 5)]
    segments = [Published(i, write(tmp_path, one)) for i, one in enumerate(parts)]
    alive = np.concatenate([np.arange(3, 290, 2), np.arange(1001, 1004)])
    reader = SegmentReader(tmp_path)
    merged = rewrite_segment(reader, segments, alive)
    read = reader.read(merged.file)
    kept = [np.isin(one.keys, alive) for one in parts]
    assert merged.codec == codec
    assert np.array_equal(read.keys, alive)
    for which, (_, found) in enumerate(read.kept()):
        expected = np.concatenate([one.kept()[which][1][rows] for one, rows in zip(parts, kept, strict=True)])
        assert np.array_equal(found, expected)
    reader.verify(merged.file, merged.sha256)


def test_different_latents_are_not_merged(tmp_path: Path) -> None:
    parts = [content(LATENT, 0, 3), content(OTHER, 10, 3)]
    segments = [Published(i, write(tmp_path, one)) for i, one in enumerate(parts)]
    with pytest.raises(InputError, match="codecs"):
        rewrite_segment(SegmentReader(tmp_path), segments, np.arange(20))


def test_a_mixed_question_is_answered_in_one_group_for_each_codec(tmp_path: Path) -> None:
    parts = [content(codec, 100 * i, 6) for i, codec in enumerate(["fp16", LATENT, "int8", LATENT, OTHER])]
    files = [write(tmp_path, one) for one in parts]
    picks = [(3, 1), (0, 5), (1, 0), (2, 2), (1, 4), (4, 3), (0, 0), (3, 1), (1, 0)]
    asked = [locations(files[part], parts[part], [row])[0] for part, row in picks]
    groups = SegmentReader(tmp_path).gather(asked)
    assert sorted(group.codec for group in groups) == sorted(["fp16", LATENT, "int8", OTHER])
    assert sorted(position for group in groups for position in group.positions) == list(range(len(picks)))
    for group in groups:
        assert group.positions == sorted(group.positions)
        assert (group.scales is None) == (group.codec == "fp16")
        for place, position in enumerate(group.positions):
            part, row = picks[position]
            patches, scales = parts[part].patches, parts[part].scales
            assert patches is not None
            assert parts[part].codec == group.codec
            assert np.array_equal(group.patches[place], patches[row])
            if group.scales is not None and scales is not None:
                assert np.array_equal(group.scales[place], scales[row])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codec": "latent-xyz"}, "no patch codec named latent-xyz"),
        ({"codec": "fp16"}, "contradict"),
        ({"scales": None}, "contradict"),
        ({"scales": np.zeros((3, 4), np.float16)}, "a scale for each patch"),
        ({"scales": np.full((3, 5), np.inf, np.float16)}, "scales hold values that are infinite"),
        ({"scales": np.zeros((3, 5), np.float32)}, "scales must be fp16"),
        ({"patches": np.zeros((3, 5, 6), np.float16)}, "codes must be int8"),
    ],
)
def test_what_is_no_segment_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    one = content(LATENT, 0, 3)
    given: dict[str, object] = {
        "keys": one.keys,
        "tokens": one.tokens,
        "patches": one.patches,
        "codec": LATENT,
        "scales": one.scales,
    }
    with pytest.raises(InputError, match=message):
        write_segment(tmp_path, **(given | change))  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


def test_a_damaged_header_is_always_found(tmp_path: Path) -> None:
    path = tmp_path / write(tmp_path, content(LATENT, 0, 9))
    original = path.read_bytes()
    rng = np.random.default_rng(4)
    for position in rng.integers(0, 8 + int.from_bytes(original[:8], "little"), 400):
        mutated = bytearray(original)
        mutated[position] ^= int(rng.integers(1, 256))
        path.write_bytes(mutated)
        with pytest.raises(CorruptionError):
            SegmentReader(tmp_path).keys(path.name)
