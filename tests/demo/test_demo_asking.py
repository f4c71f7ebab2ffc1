"""The shipped model that answers: right on held-out scenes, blind without them, and sees as the other one
does.
"""

from __future__ import annotations

import pytest
import torch

from benchmarks.asking_quality import TASK_OF, answers, guesses, in_turn, right, see
from benchmarks.quality import looks_in
from demo.world.asking_benchmark import asked
from demo.world.questions import Topic
from sightline.blip import load
from sightline.blip.checkpoint import DEMO_ASKING_FOLDER, DEMO_FOLDER
from sightline.blip.instructblip import InstructBlip
from sightline.blip.weights import list_tensors, read_tensors

TWELVE = 12


@pytest.fixture(scope="module")
def model() -> InstructBlip:
    found = load("demo", device="cpu", role="asking")
    assert isinstance(found, InstructBlip)
    return found


@pytest.fixture(scope="module")
def measured(model: InstructBlip) -> dict[Topic, tuple[float, float]]:
    """Right answers with and without the picture, on 60 questions that the figures of the benchmark have
    not.
    """
    found = {}
    for topic, group in asked(2, TWELVE).items():
        questions, truth = in_turn(topic, group), [question.answer for _, question in group]
        seen = right(answers(model, see(model, [scene for scene, _ in group]), questions), truth)
        found[topic] = (seen, right(guesses(model, questions), truth))
    return found


def test_questions_about_held_out_scenes_are_answered(measured: dict[Topic, tuple[float, float]]) -> None:
    assert sum(seen for seen, _ in measured.values()) / len(TASK_OF) >= 0.8


def test_without_the_picture_the_language_model_guesses(measured: dict[Topic, tuple[float, float]]) -> None:
    assert sum(guessed for _, guessed in measured.values()) / len(TASK_OF) <= 0.5


def test_it_describes_what_is_there(model: InstructBlip) -> None:
    scenes = [scene for scene, _ in asked(2, TWELVE)["colour"]]
    captions = model.caption(model.features(see(model, scenes)), 1, model.sampling("beam"))
    said = [looks_in(row[0].text) for row in captions]
    truth = [{(thing.kind, thing.colour) for thing in scene.things} for scene in scenes]
    hits = sum(len(one & other) for one, other in zip(said, truth, strict=True))
    assert 2 * hits / sum(len(one) + len(other) for one, other in zip(said, truth, strict=True)) >= 0.75


def test_its_image_encoder_is_that_of_the_model_that_searches() -> None:
    one, other = list_tensors(DEMO_FOLDER), list_tensors(DEMO_ASKING_FOLDER)
    names = [name for name in one if name.startswith("vision_model.")]
    pairs = zip(
        read_tensors(one[name] for name in names), read_tensors(other[name] for name in names), strict=True
    )
    assert all(torch.equal(a, b) for (_, a), (_, b) in pairs)
    assert len(names) > 50


def test_it_is_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in DEMO_ASKING_FOLDER.rglob("*") if path.is_file()) <= 20_000_000


def test_stock_transformers_loads_it_and_gives_the_same_answer(model: InstructBlip) -> None:
    from transformers import InstructBlipForConditionalGeneration

    stock, info = InstructBlipForConditionalGeneration.from_pretrained(
        DEMO_ASKING_FOLDER, output_loading_info=True, dtype=torch.float32
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    (scene, question), *_ = asked(2, TWELVE)["colour"]
    prompt = f"Question: {question.text}? Short answer:"
    ids = model.language.tokenizer.ids(prompt)
    images = [stock.config.image_token_index] * stock.config.num_query_tokens
    from demo.world.draw import draw
    from sightline.blip.sampling import Sampling

    pixels = model.preprocess([draw(scene, 384)])
    said = stock.generate(
        pixel_values=pixels,
        qformer_input_ids=torch.tensor([model.instructions.ids(prompt)]),
        input_ids=torch.tensor([[*images, *ids]]),
        max_new_tokens=10,
        do_sample=False,
    )
    ours = model.answer(
        model.features(model.encode_patches(pixels)), [prompt], Sampling("greedy", max_tokens=10)
    )
    text = model.language.tokenizer.decode(said[0].tolist())
    assert text.endswith(ours[0].text)
    assert ours[0].text == question.answer
