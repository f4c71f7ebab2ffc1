"""The three objectives through real modules: no leak of the future, and the losses of separate passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sightline.blip.masks import additive, multimodal_causal, with_padding
from sightline.blip.random_weights import write_random_checkpoint
from sightline.training.learner import Batch, Learner
from sightline.training.objectives import itc_loss, itg_loss, itm_loss, itm_pairs
from sightline.training.weights import load_network

IDS = torch.tensor([[2, 6, 7, 8, 9, 3], [2, 10, 11, 12, 3, 0], [2, 6, 11, 3, 0, 0], [2, 9, 12, 10, 8, 3]])
VALID = (IDS != 0).long()
DEC = 77


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def learner(folder: Path) -> Learner:
    network, head = load_network(folder, with_vision=True, fresh="none", seed=0)
    return Learner(network, head, DEC, ("itc", "itm", "itg")).eval()


def batch(seed: int = 0) -> Batch:
    patches = torch.randn(4, 17, 48, generator=torch.Generator().manual_seed(seed))
    return Batch(patches, IDS, VALID, torch.arange(4), torch.arange(4))


def ours(learner: Learner, patches: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    network = learner.network
    queries = network.query_tokens.expand(len(patches), -1, -1)
    embeds = torch.cat([queries, network.embeddings(ids)], dim=1)
    hidden: Tensor = network.qformer(embeds, queries.shape[1], patches, additive(mask))
    return hidden


def stock(model: Any, patches: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    queries = model.query_tokens.expand(len(patches), -1, -1)
    hidden: Tensor = model.qformer(
        query_embeds=model.embeddings(input_ids=ids, query_embeds=queries),
        query_length=queries.shape[1],
        attention_mask=additive(mask),
        encoder_hidden_states=patches,
    ).last_hidden_state
    return hidden


@pytest.fixture(scope="module", params=["ours", "stock sdpa", "stock eager"])
def forward(request: pytest.FixtureRequest, folder: Path, learner: Learner) -> Any:
    if request.param == "ours":
        return lambda patches, ids, mask: ours(learner, patches, ids, mask)
    from transformers import Blip2ForImageTextRetrieval

    attention = request.param.removeprefix("stock ")
    model = Blip2ForImageTextRetrieval.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention
    )
    return lambda patches, ids, mask: stock(model.eval(), patches, ids, mask)


@torch.inference_mode()
def test_causal_mask_leaks_no_later_word_and_no_text_into_the_queries(forward: Any) -> None:
    patches, queries, changed = batch().images, 32, 3
    mask = with_padding(multimodal_causal(queries, IDS.shape[1]), torch.ones_like(IDS))
    other = IDS.clone()
    other[:, changed] = 13
    before, after = forward(patches, IDS, mask), forward(patches, other, mask)
    torch.testing.assert_close(before[:, : queries + changed], after[:, : queries + changed], atol=0, rtol=0)
    moved = (before - after).abs().amax(dim=(0, 2))[queries + changed :]
    assert (moved > 1e-3).all(), "the changed word and those after it must see the change"


@torch.inference_mode()
def test_losses_of_the_shared_pass_equal_those_of_three_separate_ones(learner: Learner) -> None:
    given, network = batch(), learner.network
    losses = learner(given, 1.0, 5)
    tokens = network.image_tokens(given.images)
    vectors = network.text_vectors(IDS, VALID)
    contrast = itc_loss(tokens, vectors, learner.temperature, given.image_ids, given.text_ids)
    torch.testing.assert_close(losses["itc"], contrast.loss)
    pairs = itm_pairs(*contrast.local(), 1.0, torch.Generator().manual_seed(5))
    itm = [
        network.itm_logits(given.images[image][None], IDS[text][VALID[text] == 1][None], None)
        for image, text in zip(pairs.image, pairs.text, strict=True)
    ]
    torch.testing.assert_close(losses["itm"], itm_loss(torch.cat(itm), pairs.label))
    ids = IDS.clone()
    ids[:, 0] = DEC
    hidden = ours(learner, given.images, ids, with_padding(multimodal_causal(32, 6), VALID))[:, 32:]
    words = learner.head(hidden, network.embeddings.word_embeddings.weight)
    torch.testing.assert_close(losses["itg"], itg_loss(words, ids, VALID))


def test_every_trained_part_receives_a_gradient_and_pixels_reach_the_image_encoder(folder: Path) -> None:
    network, head = load_network(folder, with_vision=True, fresh="none", seed=0)
    learner = Learner(network, head, DEC, ("itc", "itm", "itg"))
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    given = Batch(pixels, IDS, VALID, torch.arange(4), torch.arange(4))
    torch.stack(list(learner(given, 0.5, 1).values())).sum().backward()  # type: ignore[no-untyped-call]
    silent = [name for name, p in learner.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The softmax cancels key biases; positions beyond the longest text are in a table with those before.
    assert [name for name in silent if "key.bias" not in name] == []


def test_only_the_asked_for_objectives_are_computed(learner: Learner) -> None:
    learner.objectives = ("itm",)
    try:
        assert list(learner(batch(), 0.0, 1)) == ["itm"]
    finally:
        learner.objectives = ("itc", "itm", "itg")


def test_fresh_weights_differ_by_part(folder: Path) -> None:
    kept, _ = load_network(folder, with_vision=True, fresh="none", seed=0)
    qformer, _ = load_network(folder, with_vision=True, fresh="qformer", seed=0)
    everything, _ = load_network(folder, with_vision=True, fresh="all", seed=0)

    def equal(one: Any, other: Any, name: str) -> bool:
        return torch.equal(one.get_parameter(name), other.get_parameter(name))

    vision, text = (
        "vision_model.encoder.layers.0.mlp.fc1.weight",
        "qformer.encoder.layer.0.output.dense.weight",
    )
    assert equal(kept, qformer, vision)
    assert not equal(kept, qformer, text)
    assert not equal(kept, everything, vision)
    assert equal(qformer, load_network(folder, with_vision=True, fresh="qformer", seed=0)[0], text)
    tokens = everything.query_tokens[0]
    assert torch.pdist(tokens).min() > 0, "query tokens that start equal stay equal"
