"""Heat maps against the stock models' attention and its gradients, and what they must not depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sightline.blip import load
from sightline.blip.blip import Blip
from sightline.blip.blip2 import Blip2
from sightline.blip.heat_maps import HeatMaps, heat_layer
from sightline.blip.latents import Basis, Latents
from sightline.blip.patch_codec import quantise
from sightline.blip.protocols import Explainer
from sightline.blip.random_weights import write_random_checkpoint
from sightline.blip.random_weights_blip import write_random_blip
from sightline.blip.text_words import text_words, without
from sightline.blip.toy import ToyEncoder

TEXT = "two blue cars, and a house"
IMAGES = 6
"""More than go through the layers together."""


@pytest.fixture(scope="module")
def blip2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("blip2"))


@pytest.fixture(scope="module")
def blip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def blip2(blip2_folder: Path) -> Blip2:
    return load(str(blip2_folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def blip(blip_folder: Path) -> Blip:
    return load(str(blip_folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def patches(blip2: Blip2) -> Tensor:
    return torch.randn(IMAGES, *blip2.patch_shape, generator=torch.Generator().manual_seed(1))


class Watched:
    """Attention probabilities of stock modules, by name, as one forward makes them."""

    def __init__(self, **modules: Any) -> None:
        self.seen: dict[str, Tensor] = {}
        for name, module in modules.items():
            module.register_forward_hook(
                lambda _, __, output, name=name: self.seen.__setitem__(name, output[1])
            )

    def gradients(self, logit: Tensor) -> dict[str, Tensor]:
        names = list(self.seen)
        return dict(zip(names, torch.autograd.grad(logit, [self.seen[one] for one in names]), strict=True))


def near(ours: Tensor, wanted: Tensor) -> bool:
    return ours.shape == wanted.shape and bool(((ours - wanted).abs() <= 1e-4 * wanted.abs().max()).all())


def test_maps_of_a_blip2_are_gradients_of_the_stock_models_match_logit(
    blip2_folder: Path, blip2: Blip2, patches: Tensor
) -> None:
    from transformers import Blip2ForImageTextRetrieval

    stock = Blip2ForImageTextRetrieval.from_pretrained(
        blip2_folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    layers = stock.qformer.encoder.layer
    watched = Watched(cross=layers[0].crossattention.attention, read=layers[1].attention.attention)
    ids = torch.tensor([blip2.tokenizer.ids(TEXT)])
    found = blip2.heat_maps(TEXT, patches)
    assert bool((found.by_word.amax(dim=(2, 3)) > 0).any(dim=1).all())
    for image in range(IMAGES):
        embeds = stock.embeddings(input_ids=ids, query_embeds=stock.query_tokens)
        out = stock.qformer(
            query_embeds=embeds, query_length=32, encoder_hidden_states=patches[image : image + 1]
        )
        logits = stock.itm_head(out[0][:, :32]).mean(dim=1)[0]
        grads = watched.gradients(logits[1])
        cross, by_cross = watched.seen["cross"][0].detach(), grads["cross"][0]
        whole = sum((cross[h] * by_cross[h].clamp(min=0)).mean(dim=0) for h in range(4)) / 4
        assert near(found.whole[image], whole[1:].view(4, 4))
        assert near(found.logits[image], logits.detach())
        read, by_read = watched.seen["read"][0].detach(), grads["read"][0]
        for number, word in enumerate(found.words):
            expected = torch.zeros(17)
            for query in range(32):
                columns = [32 + token for token in word.tokens]
                worth = (read[:, query, columns] * by_read[:, query, columns].clamp(min=0)).sum() / 4
                expected += worth * cross[:, query].mean(dim=0)
            assert near(found.by_word[image, number], expected[1:].view(4, 4))


def test_maps_of_a_blip_are_those_of_the_reference(blip_folder: Path, blip: Blip, patches: Tensor) -> None:
    """LAVIS ``compute_gradcam``: rows of the word's tokens; for the text their average without the ends."""
    from transformers import BlipForImageTextRetrieval

    stock = BlipForImageTextRetrieval.from_pretrained(blip_folder, dtype=torch.float32).eval()
    watched = Watched(cross=stock.text_encoder.encoder.layer[1].crossattention.self)
    ids = blip.network.encoding(torch.tensor([blip.tokenizer.ids(TEXT)]))
    found = blip.heat_maps(TEXT, patches)
    for image in range(IMAGES):
        out = stock.text_encoder(
            ids,
            attention_mask=torch.ones_like(ids),
            encoder_hidden_states=patches[image : image + 1],
            encoder_attention_mask=torch.ones(1, 17),
        )
        logits = stock.itm_head(out[0][:, 0])[0]
        gradient = watched.gradients(logits[1])["cross"]
        cam = (watched.seen["cross"].detach() * gradient.clamp(min=0))[0].mean(dim=0)
        assert near(found.logits[image], logits.detach())
        assert near(found.whole[image], (cam[1:-1, 1:].sum(dim=0) / (len(cam) - 2)).view(4, 4))
        for number, word in enumerate(found.words):
            rows = sum(cam[token, 1:] for token in word.tokens)
            assert near(found.by_word[image, number], rows.view(4, 4))


def test_the_shown_layer_is_the_references_for_a_blip_and_of_the_first_half_for_a_blip2(
    blip2: Blip2, blip: Blip
) -> None:
    twelve = blip.network.scored_layers()[:1] * 12
    assert heat_layer(twelve) == 6
    assert heat_layer(blip2.network.scored_layers()) == 0  # it cross-attends in 0 and 2
    assert heat_layer(load("demo", device="cpu").network.scored_layers()) == 1


@pytest.mark.parametrize("name", ["blip2", "blip"])
def test_maps_are_the_same_inside_of_inference_mode_and_from_its_tensors(
    name: str, request: pytest.FixtureRequest, patches: Tensor
) -> None:
    model: Explainer = request.getfixturevalue(name)
    wanted = model.heat_maps(TEXT, patches)
    with torch.inference_mode():
        made = patches * 1
        found = model.heat_maps(TEXT, made)
    assert made.is_inference()
    assert same(found, wanted)
    assert same(model.heat_maps(TEXT, made), wanted)
    assert not found.whole.requires_grad


def same(one: HeatMaps, other: HeatMaps) -> bool:
    pairs = ((one.whole, other.whole), (one.by_word, other.by_word), (one.logits, other.logits))
    return one.words == other.words and all(near(a, b) for a, b in pairs)


@pytest.mark.parametrize("match_dtype", ["bfloat16", "int8"])
def test_maps_are_in_float32_whatever_a_model_matches_in(
    blip2_folder: Path, blip2: Blip2, patches: Tensor, match_dtype: str
) -> None:
    from sightline.blip.int8_linear import weight_top

    if match_dtype == "int8" and weight_top() is None:
        pytest.skip("int8 is not built for this machine")
    other = load(str(blip2_folder), device="cpu", match_dtype=match_dtype)
    assert same(other.heat_maps(TEXT, patches), blip2.heat_maps(TEXT, patches))


@pytest.mark.parametrize("name", ["blip2", "blip"])
def test_maps_from_the_codecs_patches_are_near_those_from_whole_ones(
    name: str, request: pytest.FixtureRequest, patches: Tensor
) -> None:
    model: Any = request.getfixturevalue(name)
    latents = quantise(patches, None)
    found, wanted = model.heat_maps(TEXT, latents), model.heat_maps(TEXT, patches)
    assert float((found.whole - wanted.whole).abs().max()) <= 0.05 * float(wanted.whole.max())
    assert float((found.by_word - wanted.by_word).abs().max()) <= 0.05 * float(wanted.by_word.max())
    by_fold = model.match([TEXT], latents, "exact")
    assert bool(((found.logits - by_fold).abs() <= 1e-5 * by_fold.abs().clamp(min=1)).all())


@pytest.mark.parametrize("name", ["blip2", "blip"])
def test_logits_from_a_fitted_latent_are_those_of_the_fold(name: str, request: pytest.FixtureRequest) -> None:
    model: Any = request.getfixturevalue(name)
    generator = torch.Generator().manual_seed(2)
    codes = torch.randint(-127, 128, (IMAGES, 17, 24), generator=generator, dtype=torch.int8)
    scales = (torch.rand(IMAGES, 17, generator=generator) / 40 + 0.01).half()
    components = torch.linalg.qr(torch.randn(48, 24, generator=generator))[0].T.contiguous()
    latents = Latents(codes, scales, Basis("drawn", components, torch.randn(48, generator=generator)))
    by_fold = model.match([TEXT], latents, "exact")
    logits = model.heat_maps(TEXT, latents).logits
    assert bool(((logits - by_fold).abs() <= 1e-5 * by_fold.abs().clamp(min=1)).all())


def spell(text: str, *spans: tuple[int, int]) -> list[str]:
    return [text[word.start : word.end] for word in text_words(text, spans)]


def test_words_are_as_they_were_spelled() -> None:
    text = "A t-shirt, “red”! 狗猫 x"
    spans = [(at, at + 1) for at in range(len(text)) if text[at] != " "]
    assert spell(text, *spans) == ["A", "t-shirt", "red", "狗", "猫", "x"]
    assert spell("...", (0, 1), (1, 2), (2, 3)) == []
    assert spell("😀 ok", (0, 1), (2, 4)) == ["😀", "ok"]
    assert without("a red car, at night", 2, 5) == "a car, at night"


def test_words_of_a_checkpoint_are_those_that_it_reads(blip2: Blip2) -> None:
    text = "Two BLUE  cars, " + "house " * 60
    words = blip2.words(text)
    assert [text[word.start : word.end] for word in words[:3]] == ["Two", "BLUE", "cars"]
    assert all(max(word.tokens) < blip2.text_limit - 1 for word in words)
    pieces = blip2.tokenizer.ids(text)
    assert [blip2.tokenizer.decode([pieces[at] for at in word.tokens]) for word in words[:3]] == [
        "two",
        "blue",
        "cars",
    ]


def test_the_toys_heat_is_where_its_demands_are_met() -> None:
    toy = ToyEncoder()
    assert isinstance(toy, Explainer)
    colours = torch.tensor([[[0.5, 0, 0.5], [1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1]]])
    patches = torch.cat([colours, torch.zeros(1, 5, 3)], dim=2)
    found = toy.heat_maps("a red bottom, blue", patches)
    red, blue = [[0, 0], [1, 0]], [[0, 1], [0, 0]]
    assert found.by_word[0].tolist() == [[[0, 0], [0, 0]], red, red, blue]
    assert found.whole[0].tolist() == [[0, 0.5], [0.5, 0]]
