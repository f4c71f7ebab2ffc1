"""What CapFilt keeps and drops of captions that are known to be right or wrong.

The pictures are drawn, indexed and filtered by the product, with its defaults.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demo.world.corruption import Captioned, captioned
from demo.world.draw import draw
from sightline.serving.settings import ModelSettings
from sightline.settings import Settings
from sightline.store.text_records import Verdict
from sightline.wiring import Installation, open_installation

SIDE = 128
"""Pixels; what the demo model sees."""
COLLECTION = "captioned"
TEST_PICTURES = 1000
CAPFILT_GOALS = {"capfilt_drop_wrong": (0.90, 1.0), "capfilt_keep_right": (0.95, 1.0)}
Figures = dict[str, float]


@contextmanager
def filtered(told: Sequence[Captioned]) -> Iterator[Installation]:
    """An installation with these pictures and captions, through which CapFilt has gone with its defaults."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        manifest = write_pictures(folder / "pictures", told)
        settings = Settings(data=folder / "data", model=ModelSettings(name="demo"))
        with open_installation(settings, inline=True) as house:
            house.collections.create(COLLECTION)
            house.indexer.wait(house.indexer.index([str(manifest)], COLLECTION).id)
            house.indexer.wait(house.capfilt.begin(COLLECTION, captioner=None, n=0).id)
            yield house


def write_pictures(folder: Path, told: Sequence[Captioned]) -> Path:
    """PNG files and a manifest that names them with their captions."""
    folder.mkdir(parents=True)
    rows = []
    for number, one in enumerate(told):
        name = f"{number:05d}.png"
        Image.fromarray(draw(one.scene, SIDE, supersample=2)).save(folder / name)
        rows.append({"id": name, "uri": str(folder / name), "caption": one.text})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def kept_rows(house: Installation, count: int) -> NDArray[np.bool_]:
    """Whether the caption of each picture was kept."""
    number, after = house.catalog.collection(COLLECTION).id, 0
    kept = np.zeros(count, bool)
    verdicts: tuple[Verdict, ...] = ("kept",)
    while some := house.catalog.iter_texts(number, verdicts, after, 1000):
        after = some[-1].id
        for text in some:
            kept[int(Path(text.image_id).stem)] = True
    return kept


def capfilt_figures() -> Figures:
    """On held-out pictures, 30 % with wrong captions: shares of wrong ones dropped, right ones kept."""
    told = captioned("test", 1, TEST_PICTURES)
    wrong = np.array([one.wrong for one in told])
    with filtered(told) as house:
        kept = kept_rows(house, len(told))
    return {
        "capfilt_drop_wrong": float(1 - kept[wrong != "right"].mean()),
        "capfilt_keep_right": float(kept[wrong == "right"].mean()),
        "capfilt_drop_swapped": float(1 - kept[wrong == "swapped"].mean()),
        "capfilt_drop_attribute": float(1 - kept[wrong == "attribute"].mean()),
    }
