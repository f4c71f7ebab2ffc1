"""The demo model's making: truth of batches, one pass for ITC and ITG, negatives, drawing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from demo.training.batches import BatchMaker, Texts
from demo.training.grounding import Facts, GroundingHeads, Nouns
from demo.training.half import multiply_in_full, multiply_in_half
from demo.training.optimiser import orthogonal
from demo.training.pictures import draw_pictures, neighbours, scene_list
from demo.training.qformer import Learner, Pairs, choose_pairs, losses, match_by_length
from demo.training.recipe import Recipe
from demo.training.vision import interesting
from demo.training.vocabulary import learn_tokenizer
from demo.world.draw import draw
from demo.world.scene import Scene, Thing
from demo.world.things import COLOURS, KINDS, SIZES
from sightline.blip.network import Blip2Network
from sightline.blip.random_weights import randomise, small_config

STAGE = dataclasses.replace(Recipe().qformer, families_per_batch=3, pictures_per_family=4, random_per_batch=2)


@pytest.fixture(scope="module")
def maker() -> BatchMaker:
    return BatchMaker(scene_list("train", 1, 6, 10), 6, learn_tokenizer(3600), 40, seed=3)


@pytest.fixture(scope="module")
def learner() -> Learner:
    base = small_config()
    qformer = dataclasses.replace(
        base.qformer_config, vocab_size=4000, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    learner = Learner(Blip2Network(dataclasses.replace(base, qformer_config=qformer), with_vision=False))
    randomise(learner)
    with torch.no_grad():
        learner.temperature.fill_(0.07)
    return learner


def test_every_sentence_of_a_batch_is_true_of_its_own_picture(maker: BatchMaker) -> None:
    batch = maker.make(0, STAGE)
    assert batch.truth.shape == (14, 14)
    assert batch.truth.diagonal().all()
    assert not batch.truth.all()


def test_a_batch_depends_on_seed_and_step_alone(maker: BatchMaker) -> None:
    first, again, other = maker.make(4, STAGE), maker.make(4, STAGE), maker.make(5, STAGE)
    assert first.rows == again.rows
    assert torch.equal(first.sentences.ids, again.sentences.ids)
    assert first.rows != other.rows


def test_one_pass_gives_the_image_tokens_of_the_queries_alone(learner: Learner, maker: BatchMaker) -> None:
    batch = maker.make(1, STAGE)
    patches = torch.randn(14, 17, 48)
    tokens, _ = learner.image_side(patches, batch.captions)
    assert torch.allclose(tokens, learner.network.image_tokens(patches), atol=1e-5)


def test_short_and_long_pairs_apart_give_the_logits_of_all_together(
    learner: Learner, maker: BatchMaker
) -> None:
    batch = maker.make(2, STAGE)
    patches, chosen = torch.randn(14, 17, 48), torch.arange(32)
    rows = torch.arange(14)
    pairs = Pairs(rows, batch.sentences, torch.ones(14))
    expected = learner.network.itm_logits(patches, batch.sentences.ids, batch.sentences.valid)
    nouns = Nouns(maker.tokenizer)
    logits, _ = match_by_length(learner, patches, pairs, chosen, batch.facts, nouns)
    assert torch.allclose(logits, expected, atol=1e-5)


def test_no_negative_pair_is_true(maker: BatchMaker) -> None:
    batch = maker.make(3, STAGE)
    scores = torch.randn(14, 14)
    for hardness in (0.0, 1.0):
        pairs = choose_pairs(scores, batch, hardness, 0.0, torch.Generator().manual_seed(0))
        negatives = pairs.pictures[14:28]
        assert not batch.truth[torch.arange(14), negatives].any()
        assert pairs.labels.tolist() == [1] * 14 + [0] * 28


def test_near_misses_are_the_second_half_of_the_texts(maker: BatchMaker) -> None:
    batch = maker.make(3, STAGE)
    pairs = choose_pairs(torch.zeros(14, 14), batch, 0.0, 1.0, torch.Generator().manual_seed(0))
    width = min(pairs.texts.ids.shape[1], batch.near_misses.ids.shape[1])
    assert torch.equal(pairs.texts.ids[28:, :width], batch.near_misses.ids[:, :width])


def test_every_loss_reaches_the_query_tokens(learner: Learner, maker: BatchMaker) -> None:
    batch = maker.make(0, STAGE)
    patches = torch.randn(14, 17, 48)
    for name in ("itc", "itm", "itg", "ground"):
        learner.zero_grad()
        losses(learner, patches, batch, STAGE, 0, 1, Nouns(maker.tokenizer))[name].backward()
        gradient = learner.network.query_tokens.grad
        assert gradient is not None
        assert gradient.abs().sum() > 0


def test_facts_count_and_place_what_a_scene_shows() -> None:
    things = (
        Thing("car", "red", "small", 0.2, 0.5),
        Thing("car", "red", "small", 0.6, 0.5),
        Thing("house", "blue", "big", 0.8, 0.4),
    )
    facts = Facts.of([Scene("plain", (), 0), Scene("plain", things, 0)])
    red_cars = (1, KINDS.index("car"), COLOURS.index("red"))
    blue_house = (1, KINDS.index("house"), COLOURS.index("blue"))
    assert facts.count[red_cars] == 2
    assert facts.count.sum() == 3
    assert facts.place[blue_house].tolist() == pytest.approx([0.8, 0.4])
    assert facts.size[blue_house] == SIZES.index("big")


def test_nouns_name_kinds_in_singular_and_plural_and_colours(maker: BatchMaker) -> None:
    nouns = Nouns(maker.tokenizer)
    word = {name: maker.tokenizer.ids(name)[1] for name in ("house", "houses", "red", "and")}
    assert nouns.kind[word["house"]] == nouns.kind[word["houses"]] == KINDS.index("house")
    assert nouns.colour[word["red"]] == COLOURS.index("red")
    assert nouns.kind[word["red"]] == nouns.kind[word["and"]] == nouns.colour[word["house"]] == -1


def test_grounding_asks_only_about_nouns_and_rewards_right_answers(maker: BatchMaker) -> None:
    scene = Scene("plain", (Thing("car", "red", "small", 0.2, 0.5),), 0)
    heads, nouns = GroundingHeads(8), Nouns(maker.tokenizer)
    ids = torch.tensor([maker.tokenizer.ids("a red car")])
    noun = int((nouns.kind[ids[0]] >= 0).nonzero())
    asked = [(torch.zeros(1, ids.shape[1], 8), sign) for sign in (1.0, -1.0)]
    found = []
    for hidden, sign in asked:
        hidden[0, noun] = sign
        with torch.no_grad():
            heads.answers.weight.zero_()
            heads.answers.weight[:2] = 1.0  # "it is there", "it is there in this colour"
            found.append(heads(hidden, ids, torch.tensor([0]), Facts.of([scene]), nouns).item())
    assert found[0] < found[1]


def test_neighbours_name_what_lies_on_each_side() -> None:
    red, blue = Thing("car", "red", "small", 0.2, 0.5), Thing("house", "blue", "small", 0.8, 0.5)
    found = neighbours(Scene("plain", (red, blue), 0)).reshape(2, 4, -1)
    right_of_car = found[0, 1]
    assert right_of_car[KINDS.index("house")] == 1
    assert right_of_car[len(KINDS) + COLOURS.index("blue")] == 1
    assert found[0].sum() == 2
    assert found[1, 0, KINDS.index("car")] == 1


def test_pictures_drawn_in_processes_equal_those_drawn_here(tmp_path: Path) -> None:
    scenes = scene_list("val", 2, 1, 2)
    pictures = draw_pictures(tmp_path / "pictures", scenes, 64, processes=1)
    assert pictures.scenes == scenes
    assert all(np.array_equal(pictures.pixels[i], draw(scene, 64)) for i, scene in enumerate(scenes))


def test_cells_that_show_things_are_looked_at_first() -> None:
    thing = torch.full((2, 64), -1)
    thing[0, [3, 40, 63]] = 0
    kept = interesting(thing, 10, np.random.default_rng(0))
    assert {3, 40, 63} <= set(kept[0].tolist())
    assert len(set(kept[1].tolist())) == 10


def test_products_in_bfloat16_change_neither_names_nor_the_answer_much() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 8, bias=False))
    x, names = torch.randn(5, 64), list(layers.state_dict())
    full = layers(x)
    multiply_in_half(layers)
    half = layers(x)
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    assert torch.allclose(half, full, atol=0.03)
    assert list(layers.state_dict()) == names
    multiply_in_full(layers)
    assert torch.equal(layers(x), full)


def test_newton_schulz_brings_singular_values_near_one() -> None:
    for shape in ((8, 24), (24, 8)):
        values = torch.linalg.svdvals(
            orthogonal(torch.randn(*shape, generator=torch.Generator().manual_seed(1)))
        )
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_the_tokenizer_spells_any_english_word(maker: BatchMaker) -> None:
    tokenizer = maker.tokenizer
    assert tokenizer.dec == tokenizer.size - 1
    unknown = tokenizer.ids("☃")[1]
    assert unknown not in tokenizer.ids("Zwieback, xylophones & 42 quokkas; isn't it?")
    assert isinstance(maker.make(0, STAGE).captions, Texts)
