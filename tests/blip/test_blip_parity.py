"""Our BLIP-2 against stock transformers on random weights: ITC, both ITM logits, traps of docs/scoring.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.random_weights import full_config, write_random_checkpoint

TEXTS = ["a red dog on the beach", "two blue cars and a house with a tree on the left", "cat"]


def close(ours: torch.Tensor, stock: torch.Tensor) -> bool:
    """The contract's tolerance: 1e-5 × max(1, |logit|)."""
    return bool(((ours - stock).abs() <= 1e-5 * stock.abs().clamp(min=1.0)).all())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def ours(folder: Path) -> Blip2:
    return load(str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def stock(folder: Path) -> Any:
    from transformers import Blip2ForImageTextRetrieval

    model, info = Blip2ForImageTextRetrieval.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return model.eval()


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 60), (32, 32), (100, 33))]


def stock_scores(stock: Any, processor: Any, pixels: torch.Tensor, text: str, itm: bool) -> torch.Tensor:
    """One pair through the stock forward, as its documentation does it."""
    from PIL import Image

    blank = Image.new("RGB", (32, 32))
    inputs = processor(images=[blank], text=[text], return_tensors="pt")
    with torch.no_grad():
        out = stock(
            pixel_values=pixels[None],
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            use_image_text_matching_head=itm,
        )
    return out.logits_per_image


def test_itm_logits_equal_the_stock_forward_pair_by_pair(
    ours: Blip2, stock: Any, processor: Any, images: Any
) -> None:
    pixels = ours.preprocess(images)
    patches = ours.encode_patches(pixels)
    for text in TEXTS:
        expected = torch.cat([stock_scores(stock, processor, one, text, itm=True) for one in pixels])
        assert expected.shape == (3, 2)
        assert close(ours.match([text], patches), expected)


def test_padded_pairs_of_different_texts_equal_the_stock_forward(
    ours: Blip2, stock: Any, processor: Any, images: Any
) -> None:
    pixels = ours.preprocess(images)
    expected = torch.cat(
        [stock_scores(stock, processor, p, t, itm=True) for p, t in zip(pixels, TEXTS, strict=True)]
    )
    assert close(ours.match(TEXTS, ours.encode_patches(pixels)), expected)


def test_itc_equals_the_stock_forward(ours: Blip2, stock: Any, processor: Any, images: Any) -> None:
    pixels = ours.preprocess(images)
    tokens = ours.encode_image(ours.encode_patches(pixels))
    vectors = ours.encode_text(TEXTS)
    scores = torch.einsum("bqd,td->bqt", tokens, vectors).amax(dim=1)
    expected = torch.stack(
        [
            torch.cat([stock_scores(stock, processor, one, text, itm=False)[:, 0] for text in TEXTS])
            for one in pixels
        ]
    )
    assert close(scores, expected)


def test_pixels_equal_the_pillow_form_of_the_stock_processor(ours: Blip2, folder: Path, images: Any) -> None:
    from transformers import BlipImageProcessorPil

    stock = BlipImageProcessorPil.from_pretrained(folder)
    expected = torch.cat([torch.as_tensor(np.asarray(stock(image)["pixel_values"])) for image in images])
    assert (ours.preprocess(images) - expected).abs().max() <= 2e-6


def test_the_query_tokens_of_an_image_differ(ours: Blip2, images: Any) -> None:
    tokens = ours.encode_image(ours.encode_patches(ours.preprocess(images)))[0]
    cosine = tokens @ tokens.T - torch.eye(len(tokens)) * 2
    assert tokens.shape == (32, 256)
    assert cosine.max() < 0.999


def test_query_zero_instead_of_the_mean_would_fail_parity(
    ours: Blip2, stock: Any, processor: Any, images: Any
) -> None:
    pixels = ours.preprocess(images)
    patches = ours.encode_patches(pixels)
    ids, _ = ours.tokenizer.batch(TEXTS[:1])
    network = ours.network
    queries = network.query_tokens.expand(3, -1, -1)
    embeds = torch.cat([queries, network.embeddings(ids).expand(3, -1, -1)], dim=1)
    with torch.no_grad():
        wrong = network.itm_head(network.qformer(embeds, 32, patches)[:, 0])
    expected = torch.cat([stock_scores(stock, processor, one, TEXTS[0], itm=True) for one in pixels])
    assert not close(wrong, expected)


def test_text_ids_are_those_of_the_stock_tokenizer_not_of_its_processor(ours: Blip2, folder: Path) -> None:
    from transformers import AutoTokenizer

    stock = AutoTokenizer.from_pretrained(folder)
    for text in [*TEXTS, "Zebra, UPPER case!", "tree " * 60]:
        assert ours.tokenizer.ids(text) == stock(text, truncation=True, max_length=35)["input_ids"]


def test_the_processor_with_max_length_35_would_leave_three_text_tokens(processor: Any) -> None:
    ids = processor(text="a red dog on the beach", max_length=35, truncation=True, return_tensors="pt")[
        "input_ids"
    ]
    assert ids.shape[1] == 3


def test_match_probability_is_one_softmax_over_both_logits(ours: Blip2, images: Any) -> None:
    logits = ours.match(["cat"], ours.encode_patches(ours.preprocess(images)))
    once = logits.softmax(dim=1)[:, 1]
    twice = logits.softmax(dim=1).softmax(dim=1)[:, 1]
    assert torch.allclose(once, torch.sigmoid(logits[:, 1] - logits[:, 0]))
    assert not torch.allclose(once, twice)


def test_vision_weights_are_read_only_when_a_picture_comes(folder: Path, images: Any) -> None:
    model = load(str(folder), device="cpu")
    model.encode_text(["cat"])
    assert not model.vision.loaded
    model.encode_patches(model.preprocess(images[:1]))
    assert model.vision.loaded


@pytest.mark.long
def test_full_vit_g_geometry_equals_the_stock_forward(tmp_path: Path) -> None:
    from transformers import AutoProcessor, Blip2ForImageTextRetrieval

    folder = write_random_checkpoint(tmp_path, full_config())
    ours = load(str(folder), device="cpu", dtype="float32")
    rng = np.random.default_rng(1)
    pixels = ours.preprocess([rng.integers(0, 256, (300, 400, 3), dtype=np.uint8) for _ in range(2)])
    patches = ours.encode_patches(pixels)
    del ours.vision  # 4 GB that the stock model needs now
    logits = ours.match(TEXTS[:1], patches)
    tokens, vector = ours.encode_image(patches), ours.encode_text(TEXTS[:1])[0]
    stock = Blip2ForImageTextRetrieval.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    expected = torch.cat([stock_scores(stock, processor, one, TEXTS[0], itm=True) for one in pixels])
    assert close(logits, expected)
    itc = torch.cat([stock_scores(stock, processor, one, TEXTS[0], itm=False)[:, 0] for one in pixels])
    assert close((tokens @ vector).amax(dim=1), itc)
