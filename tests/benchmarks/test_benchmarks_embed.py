"""The benchmarks of embedding run at toy size, and count what they say they count."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import embed, pipeline, scaled_decoding
from sightline.blip.random_weights import small_config
from sightline.blip.vit import VisionModel
from sightline.blip.vit_packed import PackedVision


def test_operations_are_those_that_torch_counts() -> None:
    config = small_config().vision_config
    # Packed: torch counts its attention, two batched products, and not that of the flash kernel.
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        PackedVision(VisionModel(config))(torch.zeros(1, 3, config.image_size, config.image_size))
    assert embed.operations(config) == counter.get_total_flops()


def test_embed_at_toy_size_gives_every_figure() -> None:
    figures = embed.run(full=False).figures
    assert {"embed_vs_peak", "embed_vs_stock", "embed_image_s"} <= figures.keys()
    assert all(value > 0 for value in figures.values())


@pytest.mark.long
def test_the_pipeline_at_small_size_indexes_every_image_through_a_worker() -> None:
    figures = pipeline.run(full=False).figures
    assert {"pipeline_images_per_s", "overlap_gain"} <= figures.keys()
    assert all(value > 0 for value in figures.values())


def test_scaled_decoding_at_small_size_differs_from_the_whole_picture() -> None:
    figures = scaled_decoding.run(full=False).figures
    assert figures
    assert all(value > 0 for value in figures.values())
