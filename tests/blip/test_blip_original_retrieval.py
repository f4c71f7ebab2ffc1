"""BLIP as Encoder and Matcher, against the paper's definition written out here and against transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sightline.blip import load
from sightline.blip.blip import Blip
from sightline.blip.latents import Basis, Latents
from sightline.blip.pair_scoring import PairScorer
from sightline.blip.random_weights import PIECES
from sightline.blip.random_weights_blip import small_blip_config, write_random_blip
from sightline.errors import CheckpointError, InputError

SHORT, LONG = "cat", "two blue cars and a house with a tree on the left"
TEXTS = ["a red dog on the beach", LONG, SHORT]
ENC = len(PIECES) + 1


def close(ours: Tensor, wanted: Tensor) -> bool:
    """The contract's tolerance: 1e-5 × max(1, |logit|)."""
    return bool(((ours - wanted).abs() <= 1e-5 * wanted.abs().clamp(min=1.0)).all())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def ours(folder: Path) -> Blip:
    return load(str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def stock(folder: Path) -> Any:
    from transformers import BlipForImageTextRetrieval

    model, info = BlipForImageTextRetrieval.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return model.eval()


@pytest.fixture(scope="module")
def pixels(ours: Blip) -> Tensor:
    """Of three pictures that differ in more than noise."""
    rng = np.random.default_rng(0)
    sizes = ((40, 60, 40), (32, 32, 140), (100, 33, 255))
    return ours.preprocess([rng.integers(0, top, (h, w, 3)).astype(np.uint8) for h, w, top in sizes])


@pytest.fixture(scope="module")
def patches() -> Tensor:
    """Patches of nine images that have nothing in common."""
    shape = (9, *small_blip_config().dimensions.patch_shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


class Paper:
    """Image-grounded text encoder and heads, from the definition: BLIP (arXiv 2201.12086), section 3.1, with
    BERT's post-norm layers (1810.04805); one text and one image at a time, no batch and no mask."""

    def __init__(self, folder: Path, heads: int = 4) -> None:
        self.w = load_file(folder / "model.safetensors")
        self.heads = heads

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        scaled = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-12).sqrt()
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def attend(self, name: str, x: Tensor, context: Tensor) -> Tensor:
        query, key, value = (
            self.linear(f"{name}.self.{part}", source).chunk(self.heads, dim=-1)
            for part, source in (("query", x), ("key", context), ("value", context))
        )
        seen = [
            (q @ k.T / math.sqrt(q.shape[1])).exp() for q, k in zip(query, key, strict=True)
        ]  # small numbers: no maximum to subtract
        mixed = [one / one.sum(dim=1, keepdim=True) @ v for one, v in zip(seen, value, strict=True)]
        out = self.linear(f"{name}.output.dense", torch.cat(mixed, dim=1))
        return self.norm(f"{name}.output.LayerNorm", out + x)

    def text(self, ids: list[int], patches_PV: Tensor | None) -> Tensor:
        top = "text_encoder.embeddings"
        words = self.w[f"{top}.word_embeddings.weight"][ids]
        x = self.norm(f"{top}.LayerNorm", words + self.w[f"{top}.position_embeddings.weight"][: len(ids)])
        for layer in range(3):
            name = f"text_encoder.encoder.layer.{layer}"
            x = self.attend(f"{name}.attention", x, x)
            if patches_PV is not None:
                x = self.attend(f"{name}.crossattention", x, patches_PV)
            inner = self.linear(f"{name}.intermediate.dense", x)
            inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
            x = self.norm(f"{name}.output.LayerNorm", x + self.linear(f"{name}.output.dense", inner))
        return x

    def itm(self, ids: list[int], patches_PV: Tensor) -> Tensor:
        return self.linear("itm_head", self.text([ENC, *ids[1:]], patches_PV)[0])

    def itc(self, ids: list[int], patches_PV: Tensor) -> Tensor:
        image = self.linear("vision_proj", patches_PV[0])
        text = self.linear("text_proj", self.text(ids, None)[0])
        return (image / image.norm()) @ (text / text.norm())


@pytest.mark.parametrize("text", TEXTS)
def test_itm_of_one_text_is_the_paper_s(folder: Path, ours: Blip, patches: Tensor, text: str) -> None:
    paper, ids = Paper(folder), ours.tokenizer.ids(text)
    expected = torch.stack([paper.itm(ids, one) for one in patches])
    assert close(ours.match([text], patches), expected)
    assert float(expected.std(dim=0).min()) > 0.05  # images are told apart


def test_itm_of_a_text_for_each_image_is_the_paper_s(folder: Path, ours: Blip, patches: Tensor) -> None:
    paper = Paper(folder)
    pairs = zip(TEXTS, patches[:3], strict=True)
    expected = torch.stack([paper.itm(ours.tokenizer.ids(text), one) for text, one in pairs])
    assert close(ours.match(TEXTS, patches[:3]), expected)


def test_itc_is_the_paper_s(folder: Path, ours: Blip, patches: Tensor) -> None:
    paper = Paper(folder)
    found = ours.encode_image(patches)[:, 0] @ ours.encode_text(TEXTS).T
    ids = [ours.tokenizer.ids(text) for text in TEXTS]
    assert close(found, torch.stack([torch.stack([paper.itc(one, p) for one in ids]) for p in patches]))


def stock_itm(stock: Any, pixels: Tensor, ids: list[int]) -> Tensor:
    rows = torch.tensor([ids] * len(pixels))
    with torch.no_grad():
        return stock(input_ids=rows, pixel_values=pixels, use_itm_head=True).itm_score  # type: ignore[no-any-return]


def test_stock_itm_equals_ours_when_it_is_fed_enc_and_not_as_it_is(
    ours: Blip, stock: Any, pixels: Tensor
) -> None:
    """The stock model leaves [CLS] where the reference puts [ENC] (docs/scoring.md)."""
    found = ours.match([TEXTS[0]], ours.encode_patches(pixels))
    ids = ours.tokenizer.ids(TEXTS[0])
    assert close(found, stock_itm(stock, pixels, [ENC, *ids[1:]]))
    assert float((found - stock_itm(stock, pixels, ids)).abs().max()) > 0.02  # of 1e-5 that would be equal


def test_itc_and_patches_equal_the_stock_forward(ours: Blip, stock: Any, pixels: Tensor) -> None:
    patches = ours.encode_patches(pixels)
    found = ours.encode_image(patches)[:, 0] @ ours.encode_text(TEXTS).T
    with torch.no_grad():
        assert torch.allclose(patches, stock.vision_model(pixel_values=pixels)[0], atol=1e-5)
        for column, text in enumerate(TEXTS):
            ids = torch.tensor([ours.tokenizer.ids(text)])
            expected = stock(input_ids=ids, pixel_values=pixels, use_itm_head=False).itm_score
            assert close(found[:, column], expected[:, 0])


def test_pixels_and_ids_equal_those_of_the_stock_processor(ours: Blip, folder: Path) -> None:
    from transformers import AutoTokenizer, BlipImageProcessorPil

    image = np.random.default_rng(3).integers(0, 256, (50, 41, 3), dtype=np.uint8)
    expected = torch.as_tensor(
        np.asarray(BlipImageProcessorPil.from_pretrained(folder)(image)["pixel_values"])
    )
    assert (ours.preprocess([image]) - expected).abs().max() <= 2e-6
    stock = AutoTokenizer.from_pretrained(folder)
    for text in (*TEXTS, "Zebra, UPPER case!", "tree " * 60):
        assert ours.tokenizer.ids(text) == stock(text, truncation=True, max_length=35)["input_ids"]


@pytest.mark.parametrize("text", [SHORT, LONG])
@pytest.mark.parametrize("rank", [None, 24])
def test_compressed_patches_score_as_what_they_stand_for(
    ours: Blip, patches: Tensor, text: str, rank: int | None
) -> None:
    """Short texts fold the projections into the queries, long ones form keys and values."""
    count, length, width = patches.shape
    generator = torch.Generator().manual_seed(3)
    codes = torch.randint(-127, 128, (count, length, rank or width), generator=generator, dtype=torch.int8)
    scales = (torch.rand(count, length, generator=generator) / 40 + 0.01).half()
    basis = None
    if rank is not None:
        components = torch.linalg.qr(torch.randn(width, rank, generator=generator))[0].T.contiguous()
        basis = Basis("b", components, torch.randn(width, generator=generator))
    compressed = Latents(codes, scales, basis)
    ids = ours.tokenizer.batch([text])[0].expand(count, -1)
    expected = ours.network.itm_logits(compressed.patches(), ids, None)
    assert close(ours.match([text], compressed), expected)


@pytest.mark.parametrize("at_once", [1, 4, 9])
def test_pairs_do_not_depend_on_how_many_are_scored_together(
    ours: Blip, patches: Tensor, at_once: int
) -> None:
    scorer = PairScorer(ours.network, torch.float32, at_once)
    assert close(scorer(ours.tokenizer.batch([SHORT])[0], patches), ours.match([SHORT], patches))


def test_bfloat16_stays_near_float32_and_exact_means_float32(
    folder: Path, ours: Blip, patches: Tensor
) -> None:
    fast = load(str(folder), device="cpu", match_dtype="bfloat16")
    difference = (fast.match([SHORT], patches) - fast.match([SHORT], patches, "exact")).abs()
    assert close(fast.match([SHORT], patches, "exact"), ours.match([SHORT], patches))
    assert 0 < float(difference.max()) < 0.1


def test_the_patch_metric_weighs_what_every_layer_s_heads_see(folder: Path, ours: Blip) -> None:
    """Against the mean square of what random errors of a patch change, head by head."""
    weights = {name: value.double() for name, value in load_file(folder / "model.safetensors").items()}
    width = ours.patch_shape[1]
    error = torch.randn(width, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    asked, made = 0.0, 0.0
    for layer in range(3):
        name = f"text_encoder.encoder.layer.{layer}.crossattention"
        query, key = (weights[f"{name}.self.{part}.weight"].chunk(4) for part in ("query", "key"))
        asked += sum(float((q.T @ (k @ error)).square().sum()) for q, k in zip(query, key, strict=True))
        value = weights[f"{name}.self.value.weight"] @ error
        made += float((weights[f"{name}.output.dense.weight"] @ value).square().sum())
    found = ours.patch_metric()
    assert float(error @ found[0] @ error) == pytest.approx(asked)
    assert float(error @ found[1] @ error) == pytest.approx(made)


def test_what_is_typed_is_text_also_enc(ours: Blip) -> None:
    ids = ours.tokenizer.ids("[ENC] [DEC] cat")
    assert ENC not in ids
    assert len(ids) > 5


def test_odd_calls_end_in_a_sentence(ours: Blip, patches: Tensor) -> None:
    with pytest.raises(InputError, match="2 texts do not pair with 9 images"):
        ours.match(["a", "b"], patches)
    with pytest.raises(InputError, match="The text is empty"):
        ours.match(["  "], patches)


def test_a_vocabulary_without_a_row_for_enc_is_refused(tmp_path: Path) -> None:
    folder = write_random_blip(tmp_path)
    config = (folder / "config.json").read_text()
    assert f'"vocab_size": {ENC + 1}' in config
    (folder / "config.json").write_text(config.replace(f'"vocab_size": {ENC + 1}', f'"vocab_size": {ENC}'))
    with pytest.raises(CheckpointError, match=r"\[DEC\] and \[ENC\]"):
        load(str(folder), device="cpu")


def test_vision_weights_are_read_only_when_a_picture_comes(folder: Path) -> None:
    model = load(str(folder), device="cpu")
    model.encode_text([SHORT])
    assert not model.vision.loaded
    model.preprocess([np.zeros((8, 8, 3), np.uint8)])
    assert model.vision.loaded
