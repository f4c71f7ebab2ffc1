"""A GPU searches when it is asked for and there, never silently the CPU, and the answers are the same."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.errors import InputError, UnavailableError
from sightline.retriever import Retriever, RetrieverSettings
from sightline.settings import Settings
from sightline.store.backends import open_indexes
from sightline.store.filters import parse_filter
from sightline.store.flat import FlatBackend
from sightline.store.index import Device, Indexes
from sightline.wiring import open_installation
from tests.retriever.living_collection import Living, living_collection
from tests.store.token_world import random_tokens, random_vector

MOST_HITS = 2048


class FakeGpu:
    """As rough and as limited as FAISS on a GPU: queries in fp16, 2,048 hits, no selector. It counts."""

    def __init__(self, devices: int = 1, full: bool = False) -> None:
        self.devices, self.full = devices, full
        self.copies: list[int] = []
        self.asked: list[int] = []

    def count(self) -> int:
        return self.devices

    def copy(self, index: Any) -> FakeCopy:
        if self.full:
            raise RuntimeError("out of memory on the device")
        self.copies.append(index.ntotal)
        return FakeCopy(self, index.reconstruct_n(0, index.ntotal))


class FakeCopy:
    def __init__(self, gpu: FakeGpu, rows: np.ndarray) -> None:
        self.gpu, self.rows = gpu, rows

    def search(self, vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        assert count <= MOST_HITS, "FAISS refuses this on a GPU"
        self.gpu.asked.append(count)
        scores = (self.rows @ vectors.astype(np.float16).astype(np.float32).T).T
        order = np.argsort(-scores, axis=1)[:, :count]
        missing = max(0, count - order.shape[1])
        order = np.pad(order, ((0, 0), (0, missing)), constant_values=-1)
        return np.take_along_axis(scores, order, 1).astype(np.float32), order


def retriever(living: Living, device: Device, gpu: FakeGpu) -> Retriever:
    backend = FlatBackend(living.generations, device, gpu)
    return Retriever(living.catalog, living.reader, Indexes({"flat": backend}, "flat"))


def filled(living: Living) -> None:
    """800 tokens of 200 images folded, 30 images outside."""
    living.put([f"a{n}" for n in range(200)])
    living.fold()
    living.put([f"b{n}" for n in range(30)])


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_searches_the_generation_and_the_answer_is_the_cpus_bit_by_bit(
    tmp_path: Path, device: Device
) -> None:
    with living_collection(tmp_path, 0) as living:
        filled(living)
        gpu, none = FakeGpu(), FakeGpu()
        on_gpu, on_cpu = retriever(living, device, gpu), retriever(living, "cpu", none)
        for query in range(100):
            vector, images = random_vector(living.rng), (1, 10, 60)[query % 3]
            assert on_gpu.retrieve("pictures", vector, images) == on_cpu.retrieve("pictures", vector, images)
        assert gpu.copies == [800]
        assert len(gpu.asked) >= 100
        assert (none.copies, none.asked) == ([], []), "cpu never touches the GPU"


def test_what_a_gpu_cannot_answer_is_answered_by_the_cpu(tmp_path: Path) -> None:
    with living_collection(tmp_path, 1, queries=16) as living:
        filled(living)  # 3,200 tokens
        gpu = FakeGpu()
        on_gpu, on_cpu = retriever(living, "cuda", gpu), retriever(living, "cpu", gpu)
        vector = random_vector(living.rng)
        everything = parse_filter({"field": "metadata.year", "exists": True})
        for images, condition in ((190, None), (10, everything)):
            found = on_gpu.retrieve("pictures", vector, images, condition)
            assert found == on_cpu.retrieve("pictures", vector, images, condition)
        assert gpu.asked == [], "too many hits, or a selector"
        assert on_gpu.retrieve("pictures", vector, 10) == on_cpu.retrieve("pictures", vector, 10)
        assert gpu.asked
        assert max(gpu.asked) <= MOST_HITS
        asked = len(gpu.asked)
        living.delete(["a3"])  # dead images of the generation are a selector too
        assert on_gpu.retrieve("pictures", vector, 10) == on_cpu.retrieve("pictures", vector, 10)
        assert len(gpu.asked) == asked


def test_without_a_gpu_auto_is_the_cpu_and_cuda_refuses_in_one_sentence(tmp_path: Path) -> None:
    with living_collection(tmp_path, 2) as living:
        filled(living)
        vector = random_vector(living.rng)
        gpu = FakeGpu(devices=0)
        expected = retriever(living, "cpu", gpu).retrieve("pictures", vector, 10)
        assert retriever(living, "auto", gpu).retrieve("pictures", vector, 10) == expected
        with pytest.raises(
            UnavailableError, match=r"^The retriever is set to cuda, but FAISS sees no GPU: .*\.$"
        ):
            retriever(living, "cuda", gpu).retrieve("pictures", vector, 10)


def test_cuda_without_a_gpu_refuses_before_anything_is_folded_too(tmp_path: Path) -> None:
    with living_collection(tmp_path, 3) as living:
        living.put(["a", "b"])
        with pytest.raises(UnavailableError, match="sees no GPU"):
            retriever(living, "cuda", FakeGpu(devices=0)).retrieve("pictures", random_vector(living.rng), 1)


def test_a_gpu_that_is_full_is_a_warning_with_auto_and_an_error_with_cuda(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with living_collection(tmp_path, 4) as living:
        filled(living)
        vector, full = random_vector(living.rng), FakeGpu(full=True)
        expected = retriever(living, "cpu", full).retrieve("pictures", vector, 10)
        with caplog.at_level(logging.WARNING):
            assert retriever(living, "auto", full).retrieve("pictures", vector, 10) == expected
        assert any("out of memory on the device" in record.message for record in caplog.records)
        with pytest.raises(UnavailableError, match="could not be copied to the GPU: out of memory"):
            retriever(living, "cuda", full).retrieve("pictures", vector, 10)


def test_an_empty_generation_is_not_copied(tmp_path: Path) -> None:
    with living_collection(tmp_path, 5) as living:
        living.put(["a"])
        living.delete(["a"])
        living.fold()
        gpu = FakeGpu()
        found = retriever(living, "cuda", gpu).retrieve("pictures", random_vector(living.rng), 1)
        assert (found.candidates, gpu.copies) == ([], [])


def test_the_kind_of_a_first_generation_is_a_setting_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    assert open_indexes(tmp_path, kind="flat").default == "flat"
    settings = Settings(data=tmp_path, retriever=RetrieverSettings(index="flatt"))
    with (
        open_installation(settings) as services,
        pytest.raises(InputError, match="one of flat, ivf-rabitq, ivf-sq8; not 'flatt'"),
    ):
        _ = services.indexes


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_the_setting_reaches_the_index(tmp_path: Path, device: Device) -> None:
    settings = Settings(data=tmp_path, retriever=RetrieverSettings(device))
    tokens = random_tokens(np.random.default_rng(0), 3)
    with open_installation(settings) as services:
        backend = services.indexes.of()
        if device == "cuda" and not _has_gpu():
            with pytest.raises(UnavailableError, match="SIGHTLINE_RETRIEVER__DEVICE"):
                backend.tail(np.arange(3), tokens)
        else:
            assert len(backend.tail(np.arange(3), tokens).keys) == 3


def test_building_and_looking_after_an_index_needs_no_gpu(tmp_path: Path) -> None:
    with living_collection(tmp_path, 6) as living:
        living.indexes = open_indexes(living.generations, "cuda")
        living.put(["a", "b"])
        living.fold()
        serving = living.catalog.snapshot("pictures").generation
        assert serving is not None
        assert living.indexes.of(serving.kind).report(serving.file, serving.sha256).problem is None


def _has_gpu() -> bool:
    import faiss

    return bool(faiss.get_num_gpus())
