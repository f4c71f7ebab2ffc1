"""The GPU benchmark: one sentence where there is no GPU, and it does not report a time for a wrong answer."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest

from benchmarks.gpu_search import main, measure
from tests.retriever.test_retriever_device import FakeCopy, FakeGpu


class LyingGpu(FakeGpu):
    """Its copy has another image's tokens in the place of each."""

    def copy(self, index: Any) -> FakeCopy:
        return FakeCopy(self, np.roll(index.reconstruct_n(0, index.ntotal), 32, axis=0))


@pytest.mark.skipif(faiss.get_num_gpus() > 0, reason="there is a GPU here")
def test_without_a_gpu_it_ends_with_one_sentence() -> None:
    with pytest.raises(SystemExit, match=r"^FAISS sees no GPU here: .*\.$"):
        main([])


def test_both_devices_are_asked_and_must_agree() -> None:
    gpu = FakeGpu()
    (ten, hundred) = measure(150, [5, 100], 3, gpu)
    assert (ten.images, ten.candidates, hundred.candidates) == (150, 5, 100)
    assert len(ten.cpu.seconds) == len(ten.gpu.seconds) == 3
    assert gpu.asked
    with pytest.raises(RuntimeError, match="differ at query"):
        measure(150, [5], 3, LyingGpu())
