"""Each kind of checkpoint that answers, asked through the whole house: as the model alone does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sightline import blip
from sightline.blip.protocols import answering
from sightline.blip.random_weights_blip import write_random_blip_answerer
from sightline.blip.random_weights_language import write_random_blip2_writer, write_random_instructblip
from sightline.captioner.answering import Question, answer_sampling
from sightline.records import InstructedMatcher, SearchRequest
from sightline.searching.asking import AskRequest
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, picture, save, toy_settings

PICTURES = {"a": ("red", "blue"), "b": ("green",), "c": ("yellow", "black", "white", "red")}
KINDS = {
    "blip": write_random_blip_answerer,
    "blip2": write_random_blip2_writer,
    "instructblip": write_random_instructblip,
}
FREE = Question("what is it?")
CHOICE = Question("what is it?", "multiple_choice", 1, ("a car", "a house"))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("asked")
    for name, quarters in PICTURES.items():
        save(folder / "pictures", name, *quarters)
    with open_installation(toy_settings(folder / "data"), inline=True) as services:
        index(services, folder / "pictures")
        yield services


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_answer_through_the_house_as_they_do_alone(
    services: Installation, tmp_path: Path, kind: str
) -> None:
    write: Callable[[Path], Path] = KINDS[kind]
    folder = str(write(tmp_path / kind))
    model = answering(blip.load(folder, role="asking"), folder)
    pixels = model.preprocess([picture(*quarters) for quarters in PICTURES.values()])
    features = model.features(model.encode_patches(pixels)).half().float()  # as they are kept
    request = AskRequest("pictures", FREE, tuple(f"{name}.png" for name in PICTURES), model=folder)
    sampling = answer_sampling(FREE, model.sampling("beam"))
    alone = model.answer(features, [FREE.prompt()], sampling)
    for _ in range(2):
        with services.asking.ask(request) as asked:
            found = [one.reply for one in asked.answers]
        assert [one.answer for one in found] == [one.text for one in alone]
        probabilities = [one.probability for one in found]
        assert probabilities == pytest.approx([one.probability for one in alone], rel=1e-3)
    likelihoods = model.log_likelihoods(features, [CHOICE.prompt()], CHOICE.options)
    with services.asking.ask(AskRequest("pictures", CHOICE, request.image_ids, model=folder)) as asked:
        options = [[option.probability for option in one.reply.options] for one in asked.answers]
    assert torch.allclose(torch.tensor(options), likelihoods.softmax(dim=1).cpu(), atol=1e-4)


def test_a_search_is_ordered_by_an_instructblip(services: Installation, tmp_path: Path) -> None:
    folder = str(write_random_instructblip(tmp_path / "judge"))
    model = answering(blip.load(folder, role="asking"), folder)
    pixels = model.preprocess([picture(*quarters) for quarters in PICTURES.values()])
    features = model.features(model.encode_patches(pixels)).half().float()
    prompt = Question("is there a car?", "yes_no").prompt()
    yes, no = model.log_likelihoods(features, [prompt], ("yes", "no")).T.tolist()
    odds = {f"{name}.png": a - b for name, a, b in zip(PICTURES, yes, no, strict=True)}
    matcher = InstructedMatcher("is there a car?", folder)
    hits = services.search.find(SearchRequest("pictures", "red", matcher=matcher)).results
    assert [hit.id for hit in hits] == sorted(odds, key=lambda name: -odds[name])
    assert [hit.score for hit in hits] == pytest.approx([odds[hit.id] for hit in hits], abs=1e-3)
