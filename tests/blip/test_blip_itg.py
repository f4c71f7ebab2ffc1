"""Captions by ITG: the words of an image under the multimodal causal mask, searched for step by step."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sightline.blip import load
from sightline.blip.blip2_captioner import Blip2Captioner
from sightline.blip.itg import FILE
from sightline.blip.itg_generation import seen_queries, word_logits
from sightline.blip.masks import additive, multimodal_causal
from sightline.blip.protocols import Answerer, Captioner, Encoder, Matcher, captioning
from sightline.blip.random_weights import write_random_checkpoint
from sightline.errors import CheckpointError, InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Blip2Captioner:
    found = load(str(folder), device="cpu", dtype="float32")
    assert isinstance(found, Blip2Captioner)
    return found


@pytest.fixture(scope="module")
def patches(model: Blip2Captioner) -> Tensor:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 60), (32, 32), (100, 33))]
    return model.encode_patches(model.preprocess(images))


@torch.no_grad()
def whole(model: Blip2Captioner, patches: Tensor, ids: Tensor) -> Tensor:
    """The definition: one sequence [queries; words] under the mask, everything computed anew."""
    network = model.network
    queries = network.query_tokens.expand(len(patches), -1, -1)
    mask = additive(multimodal_causal(queries.shape[1], ids.shape[1])[None])
    embeds = torch.cat([queries, network.embeddings(ids)], dim=1)
    hidden = network.qformer(embeds, queries.shape[1], patches, mask)
    logits: Tensor = model.itg_head(hidden[:, queries.shape[1] :], network.embeddings.word_embeddings.weight)
    return logits


def greedily(
    model: Blip2Captioner, patches: Tensor, ids: list[int], most: int, least: int
) -> tuple[str, float]:
    """The likeliest next word of one image, and again, by the definition."""
    total, start, sep = 0.0, len(ids), model.tokenizer.sep
    for step in range(most):
        logs = whole(model, patches, torch.tensor([ids]))[0, -1].log_softmax(dim=0)
        allowed = logs.clone()
        if step < least - 1:
            allowed[sep] = -torch.inf
        ids = [*ids, int(allowed.argmax())]
        total += float(logs[ids[-1]])
        if ids[-1] == sep:
            return model.tokenizer.decode(ids[start:-1]), total
    return model.tokenizer.decode(ids[start:]), total


def test_words_over_queries_that_were_computed_once_equal_the_whole_sequence(
    model: Blip2Captioner, patches: Tensor
) -> None:
    ids = torch.randint(5, 60, (3, 9), generator=torch.Generator().manual_seed(0))
    seen = seen_queries(model.network, patches)
    expected = whole(model, patches, ids)
    assert torch.allclose(word_logits(model.network, model.itg_head, ids, seen), expected, atol=2e-5)
    last = word_logits(model.network, model.itg_head, ids, seen, last=True)
    assert torch.allclose(last, expected[:, -1:], atol=2e-5)


def test_changing_a_later_word_leaves_the_logits_of_earlier_ones_alone(
    model: Blip2Captioner, patches: Tensor
) -> None:
    seen = seen_queries(model.network, patches[:1])
    first, second = torch.tensor([[78, 6, 7, 8]]), torch.tensor([[78, 6, 7, 20]])
    a, b = (word_logits(model.network, model.itg_head, ids, seen) for ids in (first, second))
    assert torch.equal(a[:, :3], b[:, :3])
    assert not torch.allclose(a[:, 3], b[:, 3], atol=1e-3)


@pytest.mark.parametrize("prompt", [None, "a red dog"])
def test_greedy_captions_of_a_batch_are_the_likeliest_words_of_each_image(
    model: Blip2Captioner, patches: Tensor, prompt: str | None
) -> None:
    sampling = dataclasses.replace(model.sampling("greedy"), min_tokens=4, max_tokens=12)
    assert model.tokenizer.dec is not None
    start = [model.tokenizer.dec, *(model.tokenizer.ids(prompt)[1:-1] if prompt else [])]
    before = f"{prompt} " if prompt else ""
    for row, image in zip(model.caption(patches, 1, sampling, prompt), patches, strict=True):
        text, total = greedily(model, image[None], start, most=12, least=4)
        assert row[0].text == before + text
        assert row[0].log_probability == pytest.approx(total, abs=1e-4)


def test_beams_find_texts_at_least_as_likely_as_the_greedy_one(
    model: Blip2Captioner, patches: Tensor
) -> None:
    greedy = dataclasses.replace(model.sampling("greedy"), min_tokens=8, max_tokens=8)
    beam = dataclasses.replace(model.sampling("beam"), beams=6, min_tokens=8, max_tokens=8)
    for found, one in zip(model.caption(patches, 3, beam), model.caption(patches, 1, greedy), strict=True):
        assert len({caption.text for caption in found}) == 3
        assert found[0].log_probability >= found[1].log_probability >= found[2].log_probability
        assert found[0].log_probability >= one[0].log_probability


def test_a_draw_is_repeated_by_its_seed_in_any_batch(model: Blip2Captioner, patches: Tensor) -> None:
    sampling = dataclasses.replace(model.sampling("nucleus"), min_tokens=3, max_tokens=10, seed=5)
    together = model.caption(patches, 3, sampling)
    for one, row in zip(patches, together, strict=True):
        alone = model.caption(one[None], 3, sampling)[0]
        assert [caption.text for caption in alone] == [caption.text for caption in row]
    assert model.caption(patches, 3, dataclasses.replace(sampling, seed=6)) != together
    anew = dataclasses.replace(sampling, seed=None)
    assert model.caption(patches, 3, anew) != model.caption(patches, 3, anew)


def test_features_in_half_precision_give_the_same_words(model: Blip2Captioner, patches: Tensor) -> None:
    sampling = dataclasses.replace(model.sampling("beam"), max_tokens=10)
    full, half = (model.caption(one, 1, sampling) for one in (patches, patches.half()))
    assert [row[0].text for row in full] == [row[0].text for row in half]


def test_without_a_head_a_checkpoint_is_no_captioner(
    folder: Path, model: Blip2Captioner, tmp_path: Path
) -> None:
    assert isinstance(model, Captioner)
    assert isinstance(model, Encoder)
    assert isinstance(model, Matcher)
    assert not isinstance(model, Answerer)
    for path in folder.iterdir():
        if path.name != FILE:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    bare = load(str(tmp_path), device="cpu")
    assert isinstance(bare, Matcher)
    assert not isinstance(bare, Captioner)
    with pytest.raises(CheckpointError, match="The model mine writes no captions"):
        captioning(bare, "mine")
    with pytest.raises(CheckpointError, match="has no ITG head"):
        Blip2Captioner(tmp_path, device="cpu")


def test_greedy_knows_one_caption_only(model: Blip2Captioner, patches: Tensor) -> None:
    with pytest.raises(InputError, match="take beam or nucleus"):
        model.caption(patches, 2, model.sampling("greedy"))
    with pytest.raises(InputError, match="at least 1"):
        model.caption(patches, 0, model.sampling("beam"))
