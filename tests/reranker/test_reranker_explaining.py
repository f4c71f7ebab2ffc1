"""What each word contributed, against scores of the texts without it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.random_weights import write_random_checkpoint
from sightline.errors import InputError
from sightline.explanations import MAX_WORDS
from sightline.reranker.explaining import explain, heat_of

TEXT = "two blue cars, and a house"
WITHOUT = {
    "two": "blue cars, and a house",
    "blue": "two cars, and a house",
    "cars": "two blue, and a house",
    "and": "two blue cars, a house",
    "a": "two blue cars, and house",
    "house": "two blue cars, and a",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Blip2:
    return load(str(write_random_checkpoint(tmp_path_factory.mktemp("checkpoint"))), device="cpu")


@pytest.fixture(scope="module")
def patches(model: Blip2) -> Tensor:
    return torch.randn(3, *model.patch_shape, generator=torch.Generator().manual_seed(1))


def probabilities(model: Blip2, text: str, patches: Tensor) -> list[float]:
    logits = model.match([text], patches, "exact").double()
    odds = (logits[:, 1] - logits[:, 0]).exp()
    return (odds / (1 + odds)).tolist()


def test_a_word_contributed_what_the_text_loses_without_it(model: Blip2, patches: Tensor) -> None:
    whole = probabilities(model, TEXT, patches)
    lacking = {word: probabilities(model, text, patches) for word, text in WITHOUT.items()}
    for row, found in enumerate(explain(model, model, TEXT, patches, model.encode_image(patches))):
        assert found.match_probability == pytest.approx(whole[row], abs=1e-5)
        assert [one.word for one in found.words] == list(WITHOUT)
        for one in found.words:
            assert one.probability_without == pytest.approx(lacking[one.word][row], abs=1e-5)
            assert one.drop == pytest.approx(whole[row] - lacking[one.word][row], abs=2e-5)
            assert TEXT[one.start : one.end] == one.word


def test_the_winning_token_is_the_nearest_one(model: Blip2, patches: Tensor) -> None:
    tokens, [vector] = model.encode_image(patches), model.encode_text([TEXT])
    for row, found in enumerate(explain(model, model, TEXT, patches, tokens)):
        cosines = [float(token @ vector) for token in tokens[row]]
        assert found.itc == pytest.approx(max(cosines), abs=1e-6)
        assert cosines[found.query_token] == max(cosines)


def test_the_only_word_leaves_nothing_and_words_beyond_the_bound_are_left_out(
    model: Blip2, patches: Tensor
) -> None:
    tokens = model.encode_image(patches)
    [found, *_] = explain(model, model, "house!", patches, tokens)
    assert [(one.word, one.probability_without, one.drop) for one in found.words] == [("house", None, None)]
    [found, *_] = explain(model, model, "a house and " * 8, patches, tokens)
    assert len(found.words) == MAX_WORDS
    [found, *_] = explain(model, model, "?!", patches, tokens)
    assert found.words == ()
    with pytest.raises(InputError, match="empty"):
        explain(model, model, " ", patches, tokens)


def test_a_heat_is_scaled_to_its_largest_value_or_is_nothing() -> None:
    heat = heat_of(torch.tensor([[0.0, 2.0, 1.0], [4.0, 0.0, 0.0]]))
    assert (heat.width, heat.height, heat.values) == (3, 2, ((0.0, 0.5, 0.25), (1.0, 0.0, 0.0)))
    assert heat_of(torch.zeros(1, 2)).values == ((0.0, 0.0),)
