"""One small collection and one reranker of the toy model, whose order can be told by counting quarters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.reranker.reranker import Reranker
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import save, toy_settings

PICTURES = {
    "a": ("red", "red", "red", "red"),
    "b": ("red", "red", "red", "blue"),
    "c": ("red", "red", "green", "green"),
    "d": ("blue", "red", "green", "blue"),
    "e": ("green", "black", "blue", "blue"),
}
"""Fewer and fewer red quarters, from 4 down to 0."""
RED = "red top left red top right red bottom left red bottom right"
"""What the toy judges by the number of red quarters."""
BLUE = RED.replace("red", "blue")
BY_RED = [f"{name}.png" for name in PICTURES]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures, and a manifest with their captions and a field ``year``."""
    folder = tmp_path_factory.mktemp("integrations") / "photos"
    rows = ["uri,id,caption,year"]
    for year, (name, quarters) in enumerate(PICTURES.items(), 2001):
        save(folder, name, *quarters)
        rows.append(f"{name}.png,{name}.png,{' '.join(quarters)},{year}")
    (folder / "rows.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="session")
def settings(photos: Path) -> Settings:
    """The installation that has indexed them, as the collection ``pictures``."""
    found = toy_settings(photos.parent / "data")
    with open_installation(found, inline=True) as house:
        house.collections.create("pictures")
        house.indexer.wait(house.indexer.index([str(photos / "rows.csv")], "pictures").id, timeout=60)
    return found


@pytest.fixture(scope="session")
def house(settings: Settings) -> Iterator[Installation]:
    """Its parts; tests that change it take an installation of their own."""
    with open_installation(settings, inline=True) as house:
        yield house


@pytest.fixture(scope="session")
def reranker() -> Reranker:
    """Of the toy model."""
    return Reranker.from_pretrained("toy")
