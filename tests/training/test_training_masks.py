"""The mask of ITG against matrices written by hand."""

from __future__ import annotations

import torch

from sightline.blip import masks


def test_multimodal_causal_lets_text_see_queries_and_its_past_only() -> None:
    assert masks.multimodal_causal(2, 3).tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]


def test_padding_is_seen_by_nobody() -> None:
    padded = masks.with_padding(masks.multimodal_causal(1, 2), torch.tensor([[1, 1], [1, 0]]))
    assert padded.tolist() == [
        [[1, 0, 0], [1, 1, 0], [1, 1, 1]],
        [[1, 0, 0], [1, 1, 0], [1, 1, 0]],
    ]


def test_additive_mask_is_four_dimensional_zero_or_the_lowest_number() -> None:
    mask = masks.additive(torch.tensor([[[1, 0], [1, 1]]]), torch.float16)
    lowest = torch.finfo(torch.float16).min
    assert mask.dtype == torch.float16
    assert mask.tolist() == [[[[0.0, lowest], [0.0, 0.0]]]]
