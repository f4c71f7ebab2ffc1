"""How patches come to be kept: in fp16 until there is a sample, then in the latent; old segments follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sightline.blip.patch_formats import PatchFormats
from sightline.store.codec_files import CodecFiles
from tests.indexer.world import COLLECTION, CountingToy, Knobs, World, problems

RANK = 5


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    knobs = {"batch_size": 4, "patch_codec": "latent", "codec_sample": 8, "codec_rank": RANK}
    world = World(tmp_path, Knobs(indexer=knobs))
    world.create()
    yield world
    world.close()


def indexed(world: World) -> None:
    world.index()
    world.indexer.run_pending()


def fresh_formats(world: World) -> PatchFormats:
    """As another process reads them."""
    return PatchFormats(CodecFiles(world.segments.folder))


def codecs_of(world: World) -> Counter[str]:
    """How many live images each codec keeps."""
    places = world.catalog.locations([image.key for image in world.live()])
    return Counter(place.codec for place in places.values())


def kept_patches(world: World) -> dict[str, np.ndarray]:
    """Patches of every live image by its id, as they come out of its segment."""
    formats = fresh_formats(world)
    found = {}
    for image in world.live():
        (group,) = world.segments.gather([world.catalog.locations([image.key])[image.key]])
        values = torch.from_numpy(np.array(group.patches[0])).float()
        if group.scales is not None:
            values *= torch.from_numpy(group.scales[0]).float()[:, None]
        latent = formats.of(group.codec, world.models.toy.fingerprint).latent
        if latent is not None:
            values = values @ latent.basis.components + latent.basis.mean
        found[image.image_id] = values.numpy()
    return found


def own_patches(world: World) -> dict[str, np.ndarray]:
    """The same, computed from the pictures themselves."""
    from PIL import Image as Pillow

    toy = world.models.toy
    pictures = {path.name: np.asarray(Pillow.open(path)) for path in world.pictures.iterdir()}
    return {name: toy.encode_patches(toy.preprocess([rgb]))[0].numpy() for name, rgb in pictures.items()}


def assert_patches_are_their_own(world: World, within: float) -> None:
    kept, own = kept_patches(world), own_patches(world)
    assert kept.keys() == own.keys()
    for name, patches in kept.items():
        np.testing.assert_allclose(patches, own[name], atol=within)


def test_the_first_images_stay_fp16_and_the_rest_get_the_latent_that_was_fitted_to_them(world: World) -> None:
    names = world.draw(8)
    indexed(world)
    assert codecs_of(world) == {"fp16": 8}
    names += world.draw(6, first=8)
    indexed(world)
    (codec,) = set(codecs_of(world)) - {"fp16"}
    assert codecs_of(world) == {"fp16": 8, codec: 6}
    read = fresh_formats(world).of(codec, world.models.toy.fingerprint).latent
    assert read is not None
    assert (read.basis.rank, read.images) == (RANK, 8)
    assert_patches_are_their_own(world, 0.05)  # the toy's sixth number is always 1: rank 5 loses nothing
    assert problems(world, names) == []


class WithoutMetric(CountingToy):
    """An Encoder of which nobody knows what its cross-attention sees."""

    patch_metric = None  # type: ignore[assignment]


def test_a_model_without_a_patch_metric_gets_int8_in_the_place_of_a_latent(world: World) -> None:
    world.models.toy = WithoutMetric()
    names = world.draw(8)
    indexed(world)
    names += world.draw(6, first=8)
    indexed(world)
    assert codecs_of(world) == {"fp16": 8, "int8": 6}
    assert_patches_are_their_own(world, 0.05)
    assert problems(world, names) == []


def test_another_process_uses_the_codec_that_is_there(world: World) -> None:
    world.draw(9)
    indexed(world)
    second = World(world.data)
    second.draw(12)
    indexed(second)
    (codec,) = set(codecs_of(second)) - {"fp16"}
    third = World(world.data)
    third.draw(20)
    indexed(third)
    assert set(codecs_of(third)) == {"fp16", codec}
    second.close()
    third.close()


def test_the_builder_rewrites_what_was_there_before_the_codec(world: World) -> None:
    names = world.draw(13)
    indexed(world)
    builder = world.builder(merge_at_least=100)
    builder.fold(COLLECTION)
    fp16 = codecs_of(world)["fp16"]
    assert fp16 >= 8
    world.catalog.delete_images(world.catalog.collection(COLLECTION).id, ids=[names[0]])
    recoding = world.builder(patch_codec="latent", merge_at_least=100)
    while (report := recoding.step()) is not None and report.busy:
        pass
    (codec,) = codecs_of(world)
    assert codec.startswith("latent-")
    (world.pictures / names[0]).unlink()
    assert_patches_are_their_own(world, 0.05)
    assert problems(world, names[1:]) == []


def test_nothing_is_rewritten_unless_told_so(world: World) -> None:
    world.draw(13)
    indexed(world)
    before = codecs_of(world)
    world.builder(merge_at_least=100).step()
    assert codecs_of(world) == before


def test_int8_needs_no_sample_and_is_half_of_fp16(tmp_path: Path) -> None:
    world = World(tmp_path, Knobs(indexer={"batch_size": 4, "patch_codec": "int8"}))
    world.create()
    names = world.draw(6)
    indexed(world)
    assert codecs_of(world) == {"int8": 6}
    assert_patches_are_their_own(world, 1 / 254 + 1e-3)
    assert problems(world, names) == []
    world.close()


def test_a_copy_of_an_fp16_image_is_compressed_and_one_of_a_latent_image_is_copied(world: World) -> None:
    names = world.draw(8)
    indexed(world)
    world.draw(9)
    indexed(world)
    seen = world.models.toy.seen
    for name, source in (("copy-a.png", names[0]), ("copy-b.png", "00008.png")):
        (world.pictures / name).write_bytes((world.pictures / source).read_bytes())
    indexed(world)
    assert world.models.toy.seen == seen
    live = {image.image_id: image.key for image in world.live()}
    places = world.catalog.locations(list(live.values()))
    codec = places[live["00008.png"]].codec
    assert {places[live[name]].codec for name in ("copy-a.png", "copy-b.png")} == {codec}
    (copied,) = world.segments.gather([places[live["copy-b.png"]]])
    (original,) = world.segments.gather([places[live["00008.png"]]])
    assert np.array_equal(copied.patches, original.patches)
    assert copied.scales is not None
    assert original.scales is not None
    assert np.array_equal(copied.scales, original.scales)
    assert_patches_are_their_own(world, 0.05)


def test_a_damaged_codec_file_is_passed_over(world: World) -> None:
    world.draw(9)
    indexed(world)
    world.draw(10)
    indexed(world)
    (codec,) = set(codecs_of(world)) - {"fp16"}
    fingerprint = world.models.toy.fingerprint
    path = world.segments.folder / "codecs" / fingerprint / f"{codec}.codec.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert fresh_formats(world).newest(fingerprint) is None
