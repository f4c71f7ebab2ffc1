"""A collection of colours in four quarters, whose captions and scores can be worked out by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.settings import Settings
from sightline.store.records import Image
from sightline.store.text_records import StoredText
from sightline.wiring import Installation, open_installation
from tests.indexer.world import shared_decoder
from tests.sightline.conftest import save, toy_settings
from tests.sightline.conftest import sightline as sightline

COLLECTION = "pictures"
QUARTERS = {
    "a": ("red", "blue", "green", "white"),
    "b": ("yellow", "cyan", "black", "magenta"),
    "c": ("orange", "purple", "pink", "brown"),
}
NAMES = ("top left", "top right", "bottom left", "bottom right")
GIVEN = {"a": "red top left", "b": "green top left"}
"""b's is wrong."""
ALT = {"a": ["blue top right", "red bottom left"], "c": "purple top right"}
"""The second one of a is wrong."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return toy_settings(tmp_path / "data")


@pytest.fixture
def services(settings: Settings) -> Iterator[Installation]:
    with open_installation(settings, decoder=shared_decoder(), inline=True) as services:
        yield services


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with the three pictures indexed, to be copied."""
    place = tmp_path_factory.mktemp("captioner")
    with open_installation(toy_settings(place / "data"), decoder=shared_decoder(), inline=True) as services:
        index(services, write_photos(place))
    return place / "data"


@pytest.fixture
def indexed(template: Path, settings: Settings) -> Settings:
    """The three pictures are indexed."""
    shutil.copytree(template, settings.data_folder)
    return settings


@pytest.fixture
def ready(indexed: Settings) -> Iterator[Installation]:
    """Its services, as ``services``."""
    with open_installation(indexed, decoder=shared_decoder(), inline=True) as services:
        yield services


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures and their manifest."""
    return write_photos(tmp_path)


def write_photos(place: Path) -> Path:
    """Three pictures, with a caption or an alternative text, or both, in a manifest."""
    folder = place / "photos"
    rows = []
    for name, quarters in QUARTERS.items():
        save(folder, name, *quarters)
        row: dict[str, object] = {"uri": f"{name}.png", "id": name}
        row |= {"caption": GIVEN[name]} if name in GIVEN else {}
        row |= {"alt": ALT[name]} if name in ALT else {}
        rows.append(json.dumps(row))
    (folder / "photos.jsonl").write_text("\n".join(rows))
    return folder


def index(services: Installation, folder: Path) -> None:
    """In this process."""
    services.collections.create(COLLECTION)
    job = services.indexer.index([str(folder / "photos.jsonl")], COLLECTION)
    assert services.indexer.wait(job.id, timeout=60).indexed == len(QUARTERS)


def images(services: Installation) -> dict[str, Image]:
    """Live images by their ids."""
    return {one.image_id: one for one in services.catalog.images(COLLECTION, None, 100).items}


def texts(services: Installation) -> dict[str, list[StoredText]]:
    """Texts of live images by the ids of these."""
    found = images(services)
    by_key = services.catalog.texts_of([one.key for one in found.values()])
    return {name: by_key.get(image.key, []) for name, image in found.items()}


def said(services: Installation, source: str) -> dict[str, list[str]]:
    """Image id → its texts of one source."""
    return {
        name: [one.text for one in some if one.source == source] for name, some in texts(services).items()
    }


def written(quarters: tuple[str, ...], n: int, shifted: int = 0) -> list[str]:
    """What the toy writes: its formula."""
    return [f"{quarters[(at + shifted) % 4]} {NAMES[at]}" for at in range(n)]
