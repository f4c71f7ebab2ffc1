"""What odd files of a model that writes may do: nothing but a sentence, or an answer; and no code is run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from sightline.blip import load
from sightline.blip.blip_writers import BlipAnswerer, BlipCaptioner
from sightline.blip.config_blip import read_blip_config
from sightline.blip.generation import Nucleus
from sightline.blip.language_model import ends_and_pad
from sightline.blip.language_tokenizer import load_language_tokenizer
from sightline.blip.random_weights_blip import write_random_blip_answerer, write_random_blip_captioner
from sightline.blip.random_weights_language import write_random_blip2_writer
from sightline.blip.sampling import Sampling
from sightline.blip.tokenizer import load_tokenizer
from sightline.errors import CheckpointError, InputError

LONG = "a dog on the beach " * 20


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_blip2_writer(tmp_path_factory.mktemp("writer") / "model", "opt")


@pytest.fixture
def folder(writer: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(writer, tmp_path / "model"))


def edit(path: Path, section: str = "", **changes: Any) -> None:
    content = json.loads(path.read_text())
    (content[section] if section else content).update(changes)
    path.write_text(json.dumps(content))


def test_code_of_a_folder_is_not_run_and_nobody_is_asked(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Words: ...\n")
    edit(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["evil.Words", "evil.Words"]},
        tokenizer_class="Words",
    )
    load_language_tokenizer(folder, 500)
    assert not (tmp_path / "ran").exists()
    assert "[y/N]" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("end", [None, "two", -1, 10**6, []])
def test_an_end_that_is_no_id_is_refused(folder: Path, end: object) -> None:
    edit(folder / "config.json", "text_config", eos_token_id=end)
    with pytest.raises(CheckpointError, match=r"eos_token_id|configuration cannot be used"):
        load(str(folder), device="cpu")


def test_a_filler_that_the_embedding_lacks_is_replaced(writer: Path) -> None:
    from sightline.blip.blip2_writer import Blip2Writer

    model = load(str(writer), device="cpu", dtype="float32")
    assert isinstance(model, Blip2Writer)
    made = model.language.model.config
    assert ends_and_pad(model.config, made, 500)[1] == made.pad_token_id
    made.pad_token_id = -1
    assert ends_and_pad(model.config, made, 500)[1] == 0


def test_a_quantised_language_model_is_refused_by_name(folder: Path) -> None:
    edit(folder / "config.json", "text_config", quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(CheckpointError, match="quantization_config"):
        load(str(folder), device="cpu")


def test_what_a_blip_would_not_read_to_its_end_is_refused(tmp_path: Path) -> None:
    answerer = BlipAnswerer(write_random_blip_answerer(tmp_path / "answers"), device="cpu")
    patches = torch.zeros(1, *answerer.patch_shape)
    with pytest.raises(InputError, match=r"The question has .* at most 35"):
        answerer.answer(patches, [LONG], Sampling("greedy"))
    with pytest.raises(InputError, match="The option has"):
        answerer.log_likelihoods(patches, ["what is it?"], ["a dog", LONG])
    captioner = BlipCaptioner(write_random_blip_captioner(tmp_path / "captions"), device="cpu")
    with pytest.raises(InputError, match="The prompt has"):
        captioner.caption(torch.zeros(1, *captioner.patch_shape), 1, Sampling("greedy"), LONG)


@pytest.mark.parametrize("named", [{"a": 1}, "BlipForImageTextRetrieval", 5, []])
def test_architectures_that_are_no_list_are_those_of_the_first_kind(tmp_path: Path, named: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip", "architectures": named}))
    assert read_blip_config(tmp_path).dimensions.num_query_tokens == 1


def test_a_tokenizer_of_absurd_words_is_refused_before_any_is_made(tmp_path: Path) -> None:
    folder = write_random_blip_captioner(tmp_path / "captions")
    load_tokenizer(folder)
    if not (folder / "tokenizer.json").exists():
        (folder / "tokenizer.json").write_text(load_tokenizer(folder).to_json())
    edit(folder / "tokenizer.json", "model", max_input_chars_per_word=10**10)
    with pytest.raises(CheckpointError, match="max_input_chars_per_word"):
        load_tokenizer(folder)


def test_scores_that_are_no_numbers_draw_a_token_that_there_is() -> None:
    scores = torch.full((2, 7), float("nan"))
    drawn = Nucleus(Sampling("nucleus", top_p=0.9), 1, 1)(torch.zeros(2, 1, dtype=torch.int64), scores)
    assert drawn.shape == (2, 7)
    assert (drawn == 0).sum(dim=1).tolist() == [1, 1]
