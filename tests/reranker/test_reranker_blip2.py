"""The reranker over a BLIP-2 checkpoint on disk gives what the model gives pair by pair."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sightline.blip import load
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.blip.random_weights import write_random_checkpoint
from sightline.errors import ModelUnavailableError
from sightline.reranker import Reranker

TEXTS = ["a red dog on the beach", "two blue cars and a house with a tree on the left"]


def test_a_checkpoint_ranks_and_predicts_as_its_pairs_alone(tmp_path: Path) -> None:
    folder = str(write_random_checkpoint(tmp_path))
    reranker = Reranker.from_pretrained(folder, device="cpu", dtype="float32")
    alone = load(folder, device="cpu", dtype="float32")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 60), (32, 32), (90, 33))] * 7
    ranked = {one.index: one for one in reranker.rank(TEXTS[0], images)}
    predicted = reranker.predict([(text, image) for image in images[:3] for text in TEXTS])
    for index in range(3):
        patches = alone.encode_patches(alone.preprocess([images[index]]))
        itc = float((alone.encode_image(patches)[0] @ alone.encode_text([TEXTS[0]])[0]).max())
        for number, text in enumerate(TEXTS):
            no, yes = alone.match([text], patches)[0].tolist()
            probability = 1 / (1 + math.exp(no - yes))
            assert predicted[2 * index + number] == pytest.approx(probability, abs=1e-5)
            if number == 0:
                for copy in (index, index + 3, index + 18):  # in another place of another batch
                    one = ranked[copy]
                    assert (one.itm_logit, one.itc) == pytest.approx((yes, itc), abs=1e-5)
                    assert one.match_probability == pytest.approx(probability, abs=1e-5)


def test_a_model_that_is_not_there_is_said_to_be_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError):
        Reranker.from_pretrained(str(tmp_path / "nowhere"))


@pytest.mark.skipif(not (DEMO_FOLDER / "model.safetensors").exists(), reason="the model is not trained yet")
def test_the_shipped_model_is_loaded_by_its_name() -> None:
    red, blue = (np.full((64, 64, 3), colour, np.uint8) for colour in ((220, 30, 30), (30, 30, 220)))
    by_name = Reranker.from_pretrained("demo", device="cpu").rank("a red thing", [red, blue])
    by_folder = Reranker.from_pretrained(str(DEMO_FOLDER), device="cpu").rank("a red thing", [red, blue])
    assert by_name == by_folder
    assert Reranker.from_pretrained("toy").rank("red", [blue, red])[0].index == 1
