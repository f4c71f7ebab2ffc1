"""BLIP-2 of stage 2 and InstructBLIP from what is kept of an image, against stock ``generate`` from pixels.

Tiny random checkpoints, every parameter drawn: token for token the same, in float32 and from features that
were kept in float16.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sightline.blip import load
from sightline.blip.blip2_writer import Blip2Writer
from sightline.blip.generation import chances
from sightline.blip.instructblip import MATCH_PROMPT, InstructBlip
from sightline.blip.protocols import Answerer, Captioner, Encoder, Matcher
from sightline.blip.random_weights_language import (
    QUERIES,
    LanguageKind,
    write_random_blip2_writer,
    write_random_instructblip,
)
from sightline.blip.sampling import Sampling
from sightline.errors import CheckpointError, InputError

KINDS: list[tuple[str, LanguageKind]] = [
    ("blip2", "opt"),
    ("blip2", "t5"),
    ("instruct", "t5"),
    ("instruct", "llama"),
    ("instruct", "opt"),
]
MAKERS: dict[str, Callable[[Path, LanguageKind, int], Path]] = {
    "blip2": write_random_blip2_writer,
    "instruct": write_random_instructblip,
}
PROMPTS = ["", "Question: how many cats are there? Short answer:"]
GREEDY = Sampling("greedy", max_tokens=12)
BEAM = Sampling("beam", beams=3, min_tokens=5, max_tokens=12)
PENALTY = Sampling("beam", beams=5, max_tokens=9, length_penalty=-1.0, repetition_penalty=1.5)


class Pair:
    """Ours and stock from the same folder, and three images."""

    def __init__(self, folder: Path, family: str, language: LanguageKind) -> None:
        import transformers

        self.folder = MAKERS[family](folder, language, 3)
        found = load(str(self.folder), device="cpu", dtype="float32")
        assert isinstance(found, Blip2Writer | InstructBlip)
        self.ours = found
        stock = transformers.Blip2ForConditionalGeneration
        if family == "instruct":
            stock = transformers.InstructBlipForConditionalGeneration
        self.stock, info = stock.from_pretrained(self.folder, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        self.stock.eval()
        self.processor = transformers.AutoProcessor.from_pretrained(self.folder)
        rng = np.random.default_rng(0)
        images = [
            rng.integers(0, 256, size, dtype=np.uint8) for size in ((40, 60, 3), (32, 32, 3), (9, 33, 3))
        ]
        self.pixels = self.ours.preprocess(images)
        self.patches = self.ours.encode_patches(self.pixels)
        self.features = self.ours.features(self.patches)

    def inputs(self, prompt: str, pixels: Tensor) -> dict[str, Tensor]:
        """What the documentation of stock says that its ``generate`` is given; our pixels, for the
        processor's own depend on whether torchvision is there."""
        blank = [np.zeros((32, 32, 3), np.uint8)] * len(pixels)
        found = self.processor(images=blank, text=[prompt] * len(pixels), return_tensors="pt")
        return {**found, "pixel_values": pixels}

    def stock_ids(self, prompt: str, sampling: Sampling, n: int = 1) -> list[list[list[int]]]:
        """New tokens of ``n`` texts an image, cut at the end."""
        inputs = self.inputs(prompt, self.pixels)
        out = self.stock.generate(
            **inputs,
            do_sample=False,
            num_beams=max(n, sampling.beams),
            num_return_sequences=n,
            min_new_tokens=sampling.min_tokens - 1,
            max_new_tokens=sampling.max_tokens,
            length_penalty=sampling.length_penalty,
            repetition_penalty=sampling.repetition_penalty,
        )
        start = inputs["input_ids"].shape[1] if self.ours.language.decoder_only else 1
        rows = [self.cut(row) for row in out[:, start:].tolist()]
        return [rows[at : at + n] for at in range(0, len(rows), n)]

    def cut(self, row: list[int]) -> list[int]:
        end = self.ours.language.ends[0]
        return row[: row.index(end)] if end in row else row

    def our_ids(self, features: Tensor, prompt: str, sampling: Sampling, n: int = 1) -> list[list[list[int]]]:
        rows = self.ours._write(features, [prompt] * len(features), n, sampling)
        return [[draft.ids for draft in row] for row in rows]


@pytest.fixture(scope="module", params=KINDS, ids=["-".join(kind) for kind in KINDS])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    family, language = request.param
    return Pair(tmp_path_factory.mktemp("checkpoint") / "model", family, language)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("sampling", [GREEDY, BEAM, PENALTY], ids=["greedy", "beam", "penalty"])
def test_from_features_the_tokens_are_those_of_stock_from_pixels(
    pair: Pair, prompt: str, sampling: Sampling
) -> None:
    n = 1 if sampling.name == "greedy" else 2
    expected = pair.stock_ids(prompt, sampling, n)
    assert pair.our_ids(pair.features, prompt, sampling, n) == expected
    assert pair.our_ids(pair.features.half(), prompt, sampling, n) == expected


def test_other_images_give_other_words(pair: Pair) -> None:
    """Else the equality with stock would say nothing about what is kept of an image."""
    rows = [pair.our_ids(pair.features, prompt, GREEDY) for prompt in PROMPTS]
    assert any(len({tuple(row[0]) for row in found}) == 3 for found in rows)


def test_captions_and_answers_are_the_texts_that_stock_decodes(pair: Pair) -> None:
    prompt = "what colour is the bird?"
    expected = pair.stock_ids(prompt, GREEDY)
    texts = [pair.processor.tokenizer.decode(row[0], skip_special_tokens=True).strip() for row in expected]
    assert [one.text for one in pair.ours.answer(pair.features, [prompt], GREEDY)] == texts
    before = f"{prompt} " if isinstance(pair.ours, Blip2Writer) else ""
    captions = pair.ours.caption(pair.features, 1, GREEDY, prompt)
    assert [row[0].text for row in captions] == [before + text for text in texts]


def test_no_prompt_at_all_is_what_stock_makes_of_pixels_alone(pair: Pair) -> None:
    if isinstance(pair.ours, InstructBlip):
        pytest.skip("it always has an instruction")
    out = pair.stock.generate(pixel_values=pair.pixels, max_new_tokens=12, do_sample=False)
    start = QUERIES + 1 if pair.ours.language.decoder_only else 1
    rows = [[pair.cut(row)] for row in out[:, start:].tolist()]
    assert pair.our_ids(pair.features, "", GREEDY) == rows


@torch.no_grad()
def by_hand(pair: Pair, at: int, prompt: str, option: list[int]) -> float:
    """Sum of log-softmax of the stock forward over the tokens of one whole answer to one image."""
    inputs = pair.inputs(prompt, pair.pixels[at : at + 1])
    answer = torch.tensor([option])
    if pair.ours.language.decoder_only:
        inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        logits = pair.stock(**inputs).logits[:, -len(option) - 1 : -1]
    else:
        start = torch.full_like(answer[:, :1], pair.stock.config.text_config.decoder_start_token_id)
        decoder = torch.cat([start, answer[:, :-1]], dim=1)
        logits = pair.stock(**inputs, decoder_input_ids=decoder).logits
    return float(logits.log_softmax(dim=2).gather(2, answer[:, :, None]).sum())


def test_likelihoods_of_options_are_sums_of_log_softmax_of_the_stock_forward(pair: Pair) -> None:
    prompts = ["is it red?", "what colour is the bird?", "how many?"]
    options = ["yes", "no", "a red dog on the beach"]
    found = pair.ours.log_likelihoods(pair.features, prompts, options)
    assert found.shape == (3, 3)
    for at, prompt in enumerate(prompts):
        for which, option in enumerate(options):
            expected = by_hand(pair, at, prompt, pair.ours._option(prompt, option))
            assert float(found[at, which]) == pytest.approx(expected, abs=1e-4)


def test_a_probability_is_the_likelihood_of_the_tokens_that_came_out(pair: Pair) -> None:
    image, checked = pair.stock.config.image_token_index, 0
    for sampling in (GREEDY, PENALTY, Sampling("nucleus", top_p=0.8, temperature=0.7, max_tokens=9)):
        rows = pair.ours._write(pair.features, ["is it red?"] * 3, 1, sampling)
        for at, (draft,) in enumerate(rows):
            ended = len(draft.ids) < sampling.max_tokens
            option = [*draft.ids, pair.ours.language.ends[0]] if ended else draft.ids
            if image in option:
                continue  # a word by chance; the stock forward would want another image for it
            checked += 1
            expected = by_hand(pair, at, "is it red?", option)
            assert draft.log_probability == pytest.approx(expected, abs=1e-4)
    assert checked >= 6


def test_questions_of_any_length_come_out_as_if_alone(pair: Pair) -> None:
    prompts = ["is it red?", "how many cats are there on the beach and in the tree?", "what colour?"]
    together = pair.ours.answer(pair.features, prompts, BEAM)
    for at, prompt in enumerate(prompts):
        (alone,) = pair.ours.answer(pair.features[at : at + 1], [prompt], BEAM)
        assert alone.text == together[at].text
        assert alone.probability == pytest.approx(together[at].probability, rel=1e-4)


def test_a_draw_is_repeated_by_its_seed_in_any_batch(pair: Pair) -> None:
    sampling = dataclasses.replace(pair.ours.sampling("nucleus"), max_tokens=8, seed=7)
    together = pair.ours.caption(pair.features, 3, sampling)
    alone = pair.ours.caption(pair.features[2:], 3, sampling)[0]
    assert [one.text for one in alone] == [one.text for one in together[2]]
    assert pair.ours.caption(pair.features, 3, dataclasses.replace(sampling, seed=8)) != together
    totals = [one.log_probability for one in together[0]]
    assert totals == sorted(totals, reverse=True)
    numbers = tuple(range(len(pair.features)))
    apart = pair.ours.caption(pair.features, 3, dataclasses.replace(sampling, images=numbers))
    last = pair.ours.caption(pair.features[2:], 3, dataclasses.replace(sampling, images=numbers[2:]))[0]
    assert [one.text for one in last] == [one.text for one in apart[2]] != [one.text for one in together[2]]


def test_draws_come_from_the_nucleus_of_stock(pair: Pair) -> None:
    """One token many times: of what stock's own filter leaves, each about as often as it should."""
    from transformers import TopPLogitsWarper

    inputs = pair.inputs("is it red?", pair.pixels[:1])
    with torch.no_grad():
        if not pair.ours.language.decoder_only:
            start = pair.stock.config.text_config.decoder_start_token_id
            inputs["decoder_input_ids"] = torch.full((1, 1), start)
        logits = pair.stock(**inputs).logits[:, -1]
    expected = TopPLogitsWarper(0.5)(None, logits).softmax(dim=1)[0]
    end = pair.ours.language.ends[0]
    sampling = Sampling("nucleus", top_p=0.5, max_tokens=1)
    (drafts,) = pair.ours._write(pair.features[:1], ["is it red?"], 400, sampling)
    drawn = torch.bincount(
        torch.tensor([one.ids[0] if one.ids else end for one in drafts]), minlength=len(expected)
    )
    assert not drawn[expected == 0].any()
    assert float((drawn / 400 - expected).abs().sum()) < 0.35


def test_special_tokens_in_a_prompt_are_the_letters_that_they_are_made_of(pair: Pair) -> None:
    words = pair.ours.language.tokenizer
    full = pair.processor.tokenizer
    special = set(full.all_special_ids)
    around = words.ids("")
    for token in [*full.all_special_tokens, "<image>", "<extra_id_0>", "[sep]"]:
        inner = [one for one in words.ids(f"a {token} b") if one not in around or one not in special]
        assert not special & set(inner), token
        assert not special & set(words.option_ids("", token)) - set(around)
    pair.ours.answer(pair.features, ["<image> </s> [SEP] what?"], GREEDY)


def test_roles_are_those_of_the_family(pair: Pair) -> None:
    instructed = isinstance(pair.ours, InstructBlip)
    assert isinstance(pair.ours, Captioner)
    assert isinstance(pair.ours, Answerer)
    assert isinstance(pair.ours, Matcher) == instructed
    assert not isinstance(pair.ours, Encoder)
    assert pair.features.shape[1:] == pair.ours.feature_shape
    assert pair.ours.features_are_patches == instructed
    if not instructed:
        assert pair.ours.feature_shape == (QUERIES, 64)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("checkpoint") / "model", "instruct", "t5")


def test_a_match_is_the_log_odds_of_yes_against_no(judge: Pair) -> None:
    assert isinstance(judge.ours, InstructBlip)
    texts = ["a red dog", "two blue cars", "a cat in the tree"]
    logits = judge.ours.match(texts, judge.patches)
    for at, text in enumerate(texts):
        prompt = MATCH_PROMPT.format(text=text)
        no, yes = (by_hand(judge, at, prompt, judge.ours._option(prompt, one)) for one in ("no", "yes"))
        assert float(logits[at, 1] - logits[at, 0]) == pytest.approx(yes - no, abs=1e-4)
        assert float(logits[at].softmax(dim=0)[1]) == pytest.approx(1 / (1 + np.exp(no - yes)), abs=1e-5)
        assert float(logits[at].exp().sum()) == pytest.approx(1.0, abs=1e-5)
    one = judge.ours.match(texts[:1], judge.patches, "exact")
    assert torch.allclose(one[0], logits[0], atol=1e-5)


def test_only_the_beginning_of_a_long_text_is_judged_and_that_is_said(judge: Pair) -> None:
    assert isinstance(judge.ours, InstructBlip)
    long = "a red dog on the beach " * 40
    assert judge.ours.is_truncated(long)
    assert not judge.ours.is_truncated("a red dog")
    cut = judge.ours.instructions.beginning(long, judge.ours.text_limit)
    assert long.startswith(cut)
    assert judge.ours.instructions.length(cut) <= judge.ours.text_limit
    assert torch.equal(judge.ours.match([long], judge.patches), judge.ours.match([cut], judge.patches))
    with pytest.raises(InputError, match="The text is empty"):
        judge.ours.match([" "], judge.patches)


def test_latents_are_made_whole(judge: Pair) -> None:
    from sightline.blip.latents import Latents

    scales = judge.patches.abs().amax(dim=2) / 127
    codes = (judge.patches / scales[:, :, None]).round().to(torch.int8)
    latents = Latents(codes, scales.half(), None)
    assert torch.allclose(judge.ours.features(latents), judge.patches, atol=0.03)
    assert judge.ours.match(["a red dog"], latents).shape == (3, 2)


def test_what_is_too_long_or_missing_is_refused_in_a_sentence(judge: Pair) -> None:
    ours, features = judge.ours, judge.features
    with pytest.raises(InputError, match=r"The prompt has .* tokens"):
        ours.answer(features, ["how many cats " * 100], GREEDY)
    with pytest.raises(InputError, match="Give 1 question, or 3"):
        ours.answer(features, ["one?", "two?"], GREEDY)
    with pytest.raises(InputError, match="No option"):
        ours.log_likelihoods(features, ["is it red?"], [])
    with pytest.raises(InputError, match="An option has"):
        ours.log_likelihoods(features, ["is it red?"], ["yes " * 100])
    with pytest.raises(InputError, match="device map"):
        load(str(judge.folder), device="cpu", device_map="both")


def test_a_language_model_spread_by_accelerate_answers_alike(judge: Pair) -> None:
    spread = load(str(judge.folder), device="cpu", dtype="float32", device_map="auto")
    assert isinstance(spread, InstructBlip)
    assert spread.answer(judge.features, ["is it red?"], BEAM) == judge.ours.answer(
        judge.features, ["is it red?"], BEAM
    )


def test_a_language_model_in_bfloat16_answers_and_the_qformer_stays_in_float32(judge: Pair) -> None:
    half = load(str(judge.folder), device="cpu", dtype="bfloat16")
    assert isinstance(half, InstructBlip)
    assert {one.dtype for one in half.network.parameters()} == {torch.float32}
    assert half.language.model.get_input_embeddings().weight.dtype == torch.bfloat16
    ours, full = (
        one.log_likelihoods(judge.features, ["is it red?"], ["yes", "no"]) for one in (half, judge.ours)
    )
    assert torch.allclose(ours, full, rtol=0.05)


def test_a_qformer_tokenizer_with_words_beyond_the_embedding_is_refused(tmp_path: Path) -> None:
    folder = write_random_instructblip(tmp_path / "model")
    path = folder / "qformer_tokenizer" / "tokenizer.json"
    content: dict[str, Any] = json.loads(path.read_text())
    content["model"]["vocab"]["zwieback"] = 5000
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"a word with id 5000.*rows; take the tokenizer files"):
        load(str(folder), device="cpu")


def test_a_tensor_that_the_language_model_lacks_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_random_blip2_writer(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    name = "language_model.model.decoder.layers.1.fc2.weight"
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load(str(folder), device="cpu")


def test_a_language_model_of_an_unknown_kind_is_named(tmp_path: Path) -> None:
    folder = write_random_blip2_writer(tmp_path / "model")
    path = folder / "config.json"
    content: dict[str, Any] = json.loads(path.read_text())
    content["text_config"]["model_type"] = "gpt_neox"
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="'gpt_neox'"):
        load(str(folder), device="cpu")


def test_random_numbers_of_one_draw_do_not_depend_on_how_many_are_drawn() -> None:
    assert torch.equal(chances(3, 5, 8)[:2], chances(3, 2, 8))
    assert not torch.equal(chances(3, 2, 8)[1], chances(4, 2, 8)[0])
    assert torch.equal(chances(3, 2, 8, [5, 6])[2:], chances(3, 2, 8, [6]))
    assert len({tuple(row) for row in chances(3, 2, 8, [5, 6]).tolist()}) == 4
