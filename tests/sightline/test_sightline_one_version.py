"""An answer is of one version: a search describes what it found, replaced or deleted meanwhile."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from torch import Tensor

from sightline.blip.latents import Latents
from sightline.blip.toy import ToyEncoder
from sightline.indexer.uploads import Upload
from sightline.records import Precision, SearchRequest
from sightline.serving.models import Identity, ModelProvider
from sightline.store.records import Collection
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import picture, toy_settings

NAMES = ("a", "b", "c", "d")


class Interrupted(ToyEncoder):
    """The toy; ``meanwhile`` happens once while it judges, after the candidates were found."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] | None = None

    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        todo, self.meanwhile = self.meanwhile, None
        if todo is not None:
            todo()
        return super().match(texts, patches, precision)


class OneModel(ModelProvider):
    """Models of an installation that has one."""

    def __init__(self, model: Interrupted) -> None:
        super().__init__()
        self.model = model

    def identify(self, model: str, revision: str | None = None) -> Identity:
        toy = self.model
        return Identity("toy", None, toy.fingerprint, toy.num_query_tokens, toy.joint_dim, toy.patch_shape)

    def encoder(self, collection: Collection) -> Interrupted:
        return self.model

    def load(self, model: str, revision: str | None = None) -> Interrupted:
        return self.model

    def patch_shape(self, collection: Collection) -> tuple[int, int]:
        return ToyEncoder.patch_shape

    def loaded(self) -> list[str]:
        return ["toy"]


@pytest.fixture
def model() -> Interrupted:
    return Interrupted()


@pytest.fixture
def services(tmp_path: Path, model: Interrupted) -> Iterator[Installation]:
    """Four pictures."""
    with open_installation(toy_settings(tmp_path), inline=True, models=OneModel(model)) as services:
        services.collections.create("pictures")
        put(services, **dict.fromkeys(NAMES, ("red", "blue")))
        yield services


def put(services: Installation, **pictures: tuple[str, ...]) -> None:
    """Add or replace pictures; the caption says what they show."""
    uploads = []
    for name, quarters in pictures.items():
        out = io.BytesIO()
        Image.fromarray(picture(*quarters)).save(out, "PNG")
        uploads.append(Upload(out.getvalue(), name, caption=" ".join(quarters)))
    job, _ = services.indexer.add("pictures", uploads)
    services.indexer.wait(job.id, timeout=60)


def found(services: Installation) -> dict[str, str | None]:
    """Captions by id, of all hits."""
    response = services.search.find(SearchRequest("pictures", "red blue"))
    hits = [(hit.id, hit.caption) for hit in response.results]
    assert len(dict(hits)) == len(hits), "an id is there twice"
    assert [hit.rank for hit in response.results] == list(range(1, len(hits) + 1)), "a rank is missing"
    return dict(hits)


def test_a_picture_that_is_replaced_between_retrieval_and_description_is_the_one_that_was_found(
    services: Installation, model: Interrupted
) -> None:
    model.meanwhile = lambda: put(services, b=("green", "yellow"))
    assert found(services) == dict.fromkeys(NAMES, "red blue")
    assert found(services) == dict.fromkeys(NAMES, "red blue") | {"b": "green yellow"}


def test_a_picture_that_is_deleted_meanwhile_is_shown_once_more_and_then_never_again(
    services: Installation, model: Interrupted
) -> None:
    collection = services.catalog.collection("pictures")

    def delete() -> None:
        assert services.catalog.delete_images(collection.id, ids=["c"]) == 1

    model.meanwhile = delete
    assert set(found(services)) == set(NAMES)
    assert set(found(services)) == set(NAMES) - {"c"}


def test_beside_replacements_every_answer_holds_every_picture_once(services: Installation) -> None:
    stop = threading.Event()

    def search() -> int:
        count = 0
        while not stop.is_set():
            assert set(found(services)) == set(NAMES)
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        searching = [pool.submit(search) for _ in range(2)]
        try:
            for turn in range(12):
                put(services, a=(("red", "green", "blue")[turn % 3],), b=(("blue", "red")[turn % 2], "white"))
        finally:
            stop.set()
        assert sum(one.result(60) for one in searching) > 10
