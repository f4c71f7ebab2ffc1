"""Scoring documents: by match probability, from pixels or from a collection, by one model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sightline.blip.latents import Latents
from sightline.blip.protocols import RetrievalModel
from sightline.blip.toy import ToyEncoder
from sightline.errors import ConflictError, InputError, NotFoundError, UnavailableError
from sightline.records import Precision
from sightline.rerank_records import InlineImage, RerankRequest, StoredImage
from sightline.serving.models import Identity, ModelProvider
from sightline.settings import Settings
from sightline.store.records import Collection
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, picture, save

TWO_HALVES, MIXTURE, BLACK = picture("red", "blue"), picture("purple"), picture("black")


class OtherToy(ToyEncoder):
    """A second model: the same formulas under another fingerprint."""

    fingerprint = "toy-2"


class TwoModels(ModelProvider):
    """``toy`` and ``other``."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ModelProvider()

    def identify(self, model: str, revision: str | None = None) -> Identity:
        identity = self.first.identify("toy")
        return replace(identity, model="other", fingerprint="toy-2") if model == "other" else identity

    def load(self, model: str, revision: str | None = None) -> RetrievalModel:
        return OtherToy() if model == "other" else self.first.load("toy")

    def encoder(self, collection: Collection) -> RetrievalModel:
        return self.load(collection.model)

    def patch_shape(self, collection: Collection) -> tuple[int, int]:
        return ToyEncoder.patch_shape

    def loaded(self) -> list[str]:
        return []


class NanToy(ToyEncoder):
    """A model that overflows."""

    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        return torch.full((len(patches), 2), math.nan)


class OverflowingModels(TwoModels):
    """Every name means the model that overflows."""

    def load(self, model: str, revision: str | None = None) -> RetrievalModel:
        return NanToy()


@pytest.fixture
def two(settings: Settings) -> Iterator[Installation]:
    with open_installation(settings, models=TwoModels(), inline=True) as services:
        yield services


def inline(*images: object) -> tuple[InlineImage, ...]:
    return tuple(InlineImage(image) for image in images)  # type: ignore[arg-type]


def test_results_come_by_falling_match_probability(services: Installation) -> None:
    # By hand: "red blue" agrees with 1, 5/6·… : red on purple 1 − (½+0+½)/3 = 2/3, on black 1 − 1/3.
    request = RerankRequest("red blue", inline(BLACK, MIXTURE, TWO_HALVES))
    response = services.documents.rerank(request)
    expected = {}
    for number, (agreement, light) in enumerate([(2 / 3, 0.0), (2 / 3, 128 / 256 * 2 / 3), (1.0, 1 / 3)]):
        expected[number] = 1 / (1 + math.exp(2 * light - (8 * agreement - 4)))
    assert {one.index: one.match_probability for one in response.results} == pytest.approx(expected, abs=0.01)
    assert [one.index for one in response.results] == sorted(expected, key=lambda i: -expected[i])
    assert response.model == "toy"


def test_equal_documents_keep_their_order_and_the_top_is_cut(services: Installation) -> None:
    response = services.documents.rerank(RerankRequest("red", inline(BLACK, BLACK, BLACK), top_n=2))
    assert [one.index for one in response.results] == [0, 1]


def test_a_stored_image_scores_as_its_pixels_do(services: Installation, tmp_path: Path) -> None:
    save(tmp_path / "p", "halves", "red", "blue")
    index(services, tmp_path / "p")
    stored = StoredImage("pictures", "halves.png")
    response = services.documents.rerank(RerankRequest("red blue", (*inline(TWO_HALVES), stored)))
    first, second = response.results
    assert first.match_probability == pytest.approx(second.match_probability, abs=1e-6)


def test_many_documents_are_scored_in_their_own_order(services: Installation) -> None:
    images = [picture(("red", "blue", "black")[number % 3]) for number in range(25)]
    response = services.documents.rerank(RerankRequest("red", inline(*images)))
    assert sorted(one.index for one in response.results) == list(range(25))
    assert {one.index % 3 for one in response.results[:9]} == {0}


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (RerankRequest(" ", inline(BLACK)), InputError),
        (RerankRequest("red", inline(BLACK), top_n=0), InputError),
        (RerankRequest("red", inline(BLACK), model="somebody/else"), InputError),
        (RerankRequest("red", (StoredImage("nowhere", "x"),)), NotFoundError),
        (RerankRequest("red", (StoredImage("pictures", "absent.png"),)), NotFoundError),
    ],
)
def test_what_cannot_be_scored_is_refused(
    services: Installation, request_: RerankRequest, error: type[Exception]
) -> None:
    services.collections.create("pictures")
    with pytest.raises(error):
        services.documents.rerank(request_)


def test_stored_images_of_two_models_are_a_conflict(two: Installation, tmp_path: Path) -> None:
    save(tmp_path / "p", "a", "red")
    for name in ("toy", "other"):
        two.collections.create(name, name)
        index(two, tmp_path / "p", name)
    both = (StoredImage("toy", "a.png"), StoredImage("other", "a.png"))
    with pytest.raises(ConflictError, match="different models"):
        two.documents.rerank(RerankRequest("red", both))
    with pytest.raises(ConflictError, match="not with other"):
        two.documents.rerank(RerankRequest("red", both[:1], model="other"))
    assert two.documents.rerank(RerankRequest("red", both[1:], model="other")).model == "other"


def test_logits_that_are_no_numbers_do_not_become_probabilities(settings: Settings) -> None:
    with (
        open_installation(settings, models=OverflowingModels(), inline=True) as services,
        pytest.raises(UnavailableError, match="no number"),
    ):
        services.documents.rerank(RerankRequest("red", inline(BLACK, MIXTURE)))
