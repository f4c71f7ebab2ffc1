"""BLIP's captions and answers from cached patches: token for token what transformers writes from pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sightline.blip import load
from sightline.blip.blip_writers import BlipAnswerer, BlipCaptioner
from sightline.blip.latents import Latents
from sightline.blip.protocols import Answerer, Captioner, Encoder, Matcher
from sightline.blip.random_weights import PIECES
from sightline.blip.random_weights_blip import (
    small_blip_config,
    write_random_blip_answerer,
    write_random_blip_captioner,
)
from sightline.blip.sampling import Sampling
from sightline.errors import CheckpointError, InputError

DEC, ENC, SEP = len(PIECES), len(PIECES) + 1, PIECES.index("[SEP]")
GREEDY = Sampling("greedy", max_tokens=12)
BEAM = Sampling("beam", beams=3, min_tokens=7, max_tokens=12)
NUCLEUS = Sampling("nucleus", top_p=0.9, max_tokens=12, repetition_penalty=1.1)
QUESTIONS = ["what is on the left", "dog", "two red cars and a blue tree"]


@pytest.fixture(scope="module")
def captioner_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_blip_captioner(tmp_path_factory.mktemp("captioner"))


@pytest.fixture(scope="module")
def captioner(captioner_folder: Path) -> BlipCaptioner:
    return load(str(captioner_folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def answerer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_blip_answerer(tmp_path_factory.mktemp("answerer"))


@pytest.fixture(scope="module")
def answerer(answerer_folder: Path) -> BlipAnswerer:
    return load(str(answerer_folder), device="cpu", dtype="float32")


def whole(kind: Any, folder: Path) -> Any:
    model, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return model.eval()


@pytest.fixture(scope="module")
def stock_captioner(captioner_folder: Path) -> Any:
    from transformers import BlipForConditionalGeneration

    return whole(BlipForConditionalGeneration, captioner_folder)


@pytest.fixture(scope="module")
def stock_answerer(answerer_folder: Path) -> Any:
    from transformers import BlipForQuestionAnswering

    return whole(BlipForQuestionAnswering, answerer_folder)


@pytest.fixture(scope="module")
def pixels(captioner: BlipCaptioner) -> Tensor:
    """Of pictures that differ in more than noise: pure noise looks the same to an encoder that averages."""
    rng = np.random.default_rng(0)
    tops = rng.integers(1, 256, (6, 4, 4, 3))
    images = [np.kron(top, np.ones((8, 8, 1))).astype(np.uint8) for top in tops]
    return captioner.preprocess(images)


@pytest.fixture(scope="module")
def patches(captioner: BlipCaptioner, pixels: Tensor) -> Tensor:
    return captioner.features(captioner.encode_patches(pixels))


def up_to_end(row: list[int]) -> list[int]:
    return row[: row.index(SEP)] if SEP in row else row


def asked_for(sampling: Sampling) -> dict[str, int]:
    least = {"min_new_tokens": sampling.min_tokens - 1} if sampling.min_tokens > 1 else {}
    return {"num_beams": sampling.beams, "max_new_tokens": sampling.max_tokens, **least}


def stock_caption(
    stock: Any, captioner: BlipCaptioner, pixels: Tensor, sampling: Sampling, prompt: str
) -> list[list[int]]:
    ids = torch.tensor([captioner.tokenizer.ids(prompt)] * len(pixels))
    before = len(captioner.tokenizer.ids(prompt)) - 1
    rows = stock.generate(pixel_values=pixels, input_ids=ids, **asked_for(sampling))
    return [up_to_end(row[before:]) for row in rows.tolist()]


@pytest.mark.parametrize("sampling", [GREEDY, BEAM])
@pytest.mark.parametrize("prompt", ["", "a red dog"])
def test_captions_from_patches_are_the_stock_model_s_from_pixels(
    captioner: BlipCaptioner,
    stock_captioner: Any,
    pixels: Tensor,
    patches: Tensor,
    sampling: Sampling,
    prompt: str,
) -> None:
    expected = stock_caption(stock_captioner, captioner, pixels, sampling, prompt)
    words = captioner.tokenizer.ids(prompt)[1:-1]
    for kept in (patches, patches.half()):
        drafts = captioner.decoder.write(kept, words, 1, sampling)
        assert [one.ids for (one,) in drafts] == expected
    before = f"{prompt} " if prompt else ""
    texts = [[caption.text for caption in one] for one in captioner.caption(patches, 1, sampling, prompt)]
    assert texts == [[before + captioner.tokenizer.decode(ids)] for ids in expected]
    assert len({tuple(ids) for ids in expected}) > 1  # or an exchange of images would go unseen


def test_captions_begin_as_in_training_and_leave_that_away(
    captioner: BlipCaptioner, stock_captioner: Any, pixels: Tensor, patches: Tensor
) -> None:
    expected = stock_caption(stock_captioner, captioner, pixels, BEAM, "a picture of")
    found = captioner.caption(patches, 1, BEAM)
    assert [one.text for (one,) in found] == [captioner.tokenizer.decode(ids) for ids in expected]


def test_a_caption_s_log_probability_is_the_sum_over_its_tokens_by_the_model(
    captioner: BlipCaptioner, stock_captioner: Any, patches: Tensor
) -> None:
    for sampling, n in ((GREEDY, 1), (BEAM, 3), (NUCLEUS, 2)):
        drafts = captioner.decoder.write(patches, [5, 8], n, sampling)
        for image, ones in zip(patches, drafts, strict=True):
            assert len(ones) == n
            for one in ones:
                ended = len(one.ids) < sampling.max_tokens
                ids = torch.tensor([[DEC, 5, 8, *one.ids, *([SEP] if ended else [])]])
                with torch.no_grad():
                    logits = stock_captioner.text_decoder(ids, encoder_hidden_states=image[None]).logits
                steps = logits[0, 2:-1].log_softmax(dim=-1)
                summed = sum(float(row[at]) for row, at in zip(steps, ids[0, 3:], strict=True))
                assert one.log_probability == pytest.approx(summed, abs=1e-3)


def test_a_seed_gives_an_image_the_same_captions_in_whatever_batch(
    captioner: BlipCaptioner, patches: Tensor
) -> None:
    together = captioner.caption(patches, 3, NUCLEUS, "")
    for at, one in enumerate(together):
        (alone,) = captioner.caption(patches[at : at + 1], 3, NUCLEUS, "")
        assert [c.text for c in alone] == [c.text for c in one]
        assert [c.log_probability for c in one] == sorted((c.log_probability for c in one), reverse=True)
    other = captioner.caption(patches, 3, replace(NUCLEUS, seed=1), "")
    assert [[c.text for c in one] for one in other] != [[c.text for c in one] for one in together]


def test_equal_images_draw_apart_by_their_numbers_in_whatever_batch(
    captioner: BlipCaptioner, patches: Tensor
) -> None:
    numbers = (7, 8, 7, 9)
    equal = patches[:1].expand(len(numbers), -1, -1)
    drawn = captioner.caption(equal, 2, replace(NUCLEUS, images=numbers), "")
    said = [[one.text for one in some] for some in drawn]
    assert said[0] == said[2]
    assert said[0] != said[1] != said[3] != said[0]
    for at, number in enumerate(numbers):
        (alone,) = captioner.caption(equal[:1], 2, replace(NUCLEUS, images=(number,)), "")
        assert [one.text for one in alone] == said[at]


def test_compressed_patches_are_made_whole(captioner: BlipCaptioner, patches: Tensor) -> None:
    scales = patches.abs().amax(dim=2) / 127
    codes = (patches / scales[:, :, None]).round().to(torch.int8)
    whole_again = captioner.features(Latents(codes, scales.half(), None))
    assert captioner.feature_shape == captioner.patch_shape == tuple(whole_again.shape[1:])
    assert torch.allclose(whole_again, patches, atol=float(scales.max()))


@pytest.mark.parametrize("sampling", [GREEDY, replace(BEAM, min_tokens=1), replace(BEAM, min_tokens=4)])
def test_answers_from_patches_are_the_stock_model_s_when_its_question_begins_with_enc(
    answerer: BlipAnswerer, stock_answerer: Any, pixels: Tensor, sampling: Sampling
) -> None:
    patches = answerer.features(answerer.encode_patches(pixels))
    for question in QUESTIONS:
        ids = torch.tensor([answerer.tokenizer.ids(question)] * len(pixels))
        ids[:, 0] = ENC
        rows = stock_answerer.generate(input_ids=ids, pixel_values=pixels, **asked_for(sampling))
        expected = [up_to_end(row[1:]) for row in rows.tolist()]
        for kept in (patches, patches.half()):
            answers = answerer.answer(kept, [question], sampling)
            assert [one.text for one in answers] == [answerer.tokenizer.decode(ids) for ids in expected]


def test_questions_of_different_lengths_are_answered_as_each_alone(
    answerer: BlipAnswerer, patches: Tensor
) -> None:
    options = ["red", "a blue car on the beach", "dog"]
    together = answerer.answer(patches[:3], QUESTIONS, BEAM)
    likelihoods = answerer.log_likelihoods(patches[:3], QUESTIONS, options)
    for at, question in enumerate(QUESTIONS):
        (alone,) = answerer.answer(patches[at : at + 1], [question], BEAM)
        assert alone.text == together[at].text
        assert alone.probability == pytest.approx(together[at].probability, rel=1e-4)
        row = answerer.log_likelihoods(patches[at : at + 1], [question], options)[0]
        assert torch.allclose(row, likelihoods[at], atol=1e-4)


def test_likelihoods_of_options_are_those_of_the_stock_parts(
    answerer: BlipAnswerer, stock_answerer: Any, patches: Tensor
) -> None:
    options = ["red", "a blue car on the beach"]
    found = answerer.log_likelihoods(patches[:2], QUESTIONS[:1], options)
    assert found.shape == (2, 2)
    ids = answerer.tokenizer.ids(QUESTIONS[0])
    question = torch.tensor([[ENC, *ids[1:]]])
    for row, image in zip(found, patches, strict=False):
        with torch.no_grad():
            states = stock_answerer.text_encoder(question, encoder_hidden_states=image[None])[0]
            for cell, option in zip(row, options, strict=True):
                target = torch.tensor([[DEC, *answerer.tokenizer.ids(option)[1:]]])
                logits = stock_answerer.text_decoder(target, encoder_hidden_states=states).logits
                steps = logits[0, :-1].log_softmax(dim=-1)
                summed = sum(float(one[at]) for one, at in zip(steps, target[0, 1:], strict=True))
                assert float(cell) == pytest.approx(summed, abs=1e-3)


def test_a_vision_width_that_is_not_the_text_s_answers_too(tmp_path: Path, pixels: Tensor) -> None:
    """The stock model cannot be loaded so: its parts are put together by hand."""
    from transformers import BlipTextConfig
    from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel, BlipTextModel

    folder = write_random_blip_answerer(tmp_path, small_blip_config(64))
    model = load(str(folder), device="cpu", dtype="float32")
    assert model.patch_shape[1] != model.config.text_config.hidden_size
    patches = model.encode_patches(pixels)
    ids = torch.tensor([[ENC, *model.tokenizer.ids(QUESTIONS[0])[1:]]] * len(patches))
    parts = load_file(folder / "model.safetensors")
    encoder, decoder = (
        kind(BlipTextConfig(**model.config.to_json()["text_config"] | {"encoder_hidden_size": width})).eval()
        for kind, width in ((BlipTextModel, 48), (BlipTextLMHeadModel, 64))
    )
    for part, name in ((encoder, "text_encoder."), (decoder, "text_decoder.")):
        own = {key.removeprefix(name): value for key, value in parts.items() if key.startswith(name)}
        assert not part.load_state_dict(own, strict=False).unexpected_keys
    with torch.no_grad():
        states = encoder(ids, encoder_hidden_states=patches)[0]
        ids = torch.full((len(patches), 1), DEC)
        for _ in range(GREEDY.max_tokens):
            words = decoder(ids, encoder_hidden_states=states).logits[:, -1].argmax(dim=-1)
            ids = torch.cat([ids, words[:, None]], dim=1)
    expected = [model.tokenizer.decode(up_to_end(row[1:])) for row in ids.tolist()]
    assert [one.text for one in model.answer(patches, QUESTIONS[:1], GREEDY)] == expected


def test_each_kind_has_its_role_and_no_other(captioner: BlipCaptioner, answerer: BlipAnswerer) -> None:
    assert isinstance(captioner, Captioner)
    assert isinstance(answerer, Answerer)
    assert not isinstance(captioner, (Answerer, Encoder, Matcher))
    assert not isinstance(answerer, (Captioner, Encoder, Matcher))
    assert captioner.features_are_patches
    assert answerer.features_are_patches


def test_published_settings_are_named(captioner: BlipCaptioner, answerer: BlipAnswerer) -> None:
    beam, nucleus = captioner.sampling("beam"), captioner.sampling("nucleus")
    assert (beam.beams, beam.min_tokens, beam.max_tokens) == (3, 10, 30)
    assert (nucleus.top_p, nucleus.repetition_penalty, nucleus.max_tokens) == (0.9, 1.1, 30)
    assert (answerer.sampling("beam").beams, answerer.sampling("beam").max_tokens) == (3, 9)


def test_odd_calls_end_in_a_sentence(
    captioner: BlipCaptioner, answerer: BlipAnswerer, patches: Tensor
) -> None:
    with pytest.raises(InputError, match="one caption"):
        captioner.caption(patches, 2, GREEDY)
    with pytest.raises(InputError, match="Give 1 question, or 6"):
        answerer.answer(patches, ["a", "b"], GREEDY)
    with pytest.raises(InputError, match="The question is empty"):
        answerer.answer(patches, [" "], GREEDY)
    with pytest.raises(InputError, match="No option"):
        answerer.log_likelihoods(patches, ["a"], [])


def test_a_decoder_s_missing_tensor_is_named(tmp_path: Path) -> None:
    folder = write_random_blip_captioner(tmp_path)
    name = "text_decoder.bert.encoder.layer.1.crossattention.self.key.weight"
    held = load_file(folder / "model.safetensors")
    del held[name]
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=name):
        load(str(folder), device="cpu")
