"""Preparing pictures while the model works changes only the time; the model's batches fit its memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.errors import ImageRejected
from sightline.indexer.embedding.clock import EmbedClock
from sightline.indexer.embedding.leased_batch import one_ahead
from sightline.indexer.indexer import Indexer
from sightline.store.halves import finite_rows
from tests.indexer.world import COLLECTION, CountingToy, Knobs, ToyModels, World, picture, problems


def stored(world: World) -> dict[str, tuple[bytes, bytes]]:
    """Image id → tokens and patches, as bytes."""
    live = world.live()
    places = world.catalog.locations([image.key for image in live])
    found = {}
    for image in live:
        content = world.segments.read(places[image.key].file)
        row = content.keys.tolist().index(image.key)
        assert content.patches is not None
        found[image.image_id] = (content.tokens[row].tobytes(), content.patches[row].tobytes())
    return found


def indexed(world: World) -> list[str]:
    """15 pictures, of which one is broken, two are the same and one was changed after its registration."""
    world.create()
    names = world.draw(12)
    (world.pictures / "00003b.png").write_bytes(b"GIF89a no picture at all")
    (world.pictures / "00005b.png").write_bytes((world.pictures / names[5]).read_bytes())
    (world.pictures / "00007b.png").write_bytes(picture(300))
    world.index()
    (world.pictures / "00007b.png").write_bytes(picture(301))
    world.indexer.run_pending()
    return [*names, "00005b.png"]


@pytest.mark.parametrize("chunk", [1, 3, 5])
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_neither_chunks_nor_model_batches_change_what_is_stored(
    tmp_path: Path, chunk: int, batch: int
) -> None:
    plain = World(tmp_path / "plain", Knobs(indexer={"decode_chunk_images": 100, "encode_batch": 100}))
    expected = indexed(plain)
    sizes = {"decode_chunk_images": chunk, "encode_batch": batch, "batch_size": 7}
    world = World(tmp_path / "cut", Knobs(indexer=sizes))
    toy = WatchedToy()
    world.models = ToyModels(toy)
    assert indexed(world) == expected
    assert problems(world, expected) == []
    assert stored(world) == stored(plain)
    assert max(toy.sizes) <= batch
    plain.close()
    world.close()


class WatchedToy(CountingToy):
    """Notes the size of every batch; those larger than ``most`` end in ``error``."""

    def __init__(self, most: int = 1000, error: str = "") -> None:
        super().__init__()
        self.sizes: list[int] = []
        self._most = most
        self._error = error

    def encode_patches(self, pixels: Any) -> Any:
        self.sizes.append(len(pixels))
        if len(pixels) > self._most:
            raise RuntimeError(self._error)
        return super().encode_patches(pixels)


def test_the_next_pictures_are_decoded_while_the_model_works(tmp_path: Path) -> None:
    world = World(tmp_path, Knobs(indexer={"batch_size": 6, "decode_chunk_images": 2, "encode_batch": 2}))
    world.create()
    names = world.draw(6)
    decoded = threading.Semaphore(0)
    decode_many = world.decoder.decode_many

    class Watched:
        def decode_many(self, data: Any) -> Any:
            result = list(decode_many(data))
            decoded.release()
            return result

    waits: list[bool] = []
    # Each of the first two passes of the model sees a further chunk decoded before it ends.
    decoded_before = iter([2, 1, 0])
    world.models.toy.before = lambda: waits.append(
        all(decoded.acquire(timeout=20) for _ in range(next(decoded_before)))
    )
    indexer = Indexer(replace(world.parts, decoder=Watched()))
    indexer.index([str(world.pictures)], COLLECTION)
    indexer.run_pending()
    assert waits == [True, True, True]
    assert problems(world, names) == []
    world.close()


def test_a_batch_beyond_the_memory_is_halved_and_stays_so(tmp_path: Path) -> None:
    world = World(tmp_path, Knobs(indexer={"batch_size": 16, "encode_batch": 8}))
    world.create()
    names = world.draw(20)
    toy = WatchedToy(3, "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
    world.models = ToyModels(toy)
    world.index()
    world.indexer.run_pending()
    assert toy.sizes == [8, 4, *[2] * 8, *[2] * 2]
    assert problems(world, names) == []
    world.close()


def test_other_errors_of_the_model_are_no_reason_to_halve(tmp_path: Path) -> None:
    world = World(tmp_path, Knobs(indexer={"max_attempts": 1}))
    world.create()
    world.draw(4)
    toy = WatchedToy(0, "shapes do not fit")
    world.models = ToyModels(toy)
    job = world.index()
    world.indexer.run_pending()
    assert toy.sizes == [4, 2, 2, 1, 1, 1, 1]  # the task is halved, not the pass of the model
    assert {error.reason for error in world.catalog.job_errors(job.id)} == {"internal"}
    world.close()


def test_steps_come_in_order_and_their_error_in_its_turn() -> None:
    def steps() -> Iterator[int]:
        yield from range(5)
        raise ImageRejected("truncated", "the end")

    with ThreadPoolExecutor(1) as pool:
        ahead = one_ahead(pool, steps(), EmbedClock())
        assert [next(ahead) for _ in range(5)] == list(range(5))
        with pytest.raises(ImageRejected):
            next(ahead)


def test_what_is_left_of_the_steps_is_not_taken_after_the_caller_gave_up() -> None:
    taken: list[int] = []

    def steps() -> Iterator[int]:
        for step in range(100):
            taken.append(step)
            yield step

    with ThreadPoolExecutor(1) as pool:
        next(one_ahead(pool, steps(), EmbedClock()))
    assert taken == [0, 1]


def test_finite_rows_are_those_that_numpy_calls_finite() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    assert np.array_equal(finite_rows(every[:, None]), np.isfinite(every))
    rows = np.zeros((5, 300, 1000), np.float16)
    rows[1, 299, 999], rows[3, 0, 0], rows[4] = -np.inf, np.nan, 65504
    assert finite_rows(rows).tolist() == [True, False, True, False, True]
