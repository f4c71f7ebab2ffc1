"""What CapFilt keeps and drops of captions that are known to be right or wrong, and what that is worth.

``python -m benchmarks.quality`` shows the first. ``python -m benchmarks.capfilt_quality`` trains from the
demo model on captions as they came and on what CapFilt kept of them, the same number of steps with the same
seeds, and prints R@1 of both: minutes for each run. The pictures are indexed and filtered by the product.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.quality import encode, itc_scores, rerank
from demo.world.benchmark import held_out, texts
from demo.world.corruption import Captioned, captioned
from demo.world.draw import draw
from sightline import training
from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.serving.settings import ModelSettings
from sightline.settings import Settings
from sightline.store.text_records import Verdict
from sightline.training import checkpoints
from sightline.training.config import TrainConfig
from sightline.training.weights import publish
from sightline.wiring import Installation, open_installation

SIDE = 128
"""Pixels; what the demo model sees."""
COLLECTION = "captioned"
TEST_PICTURES, TRAIN_PICTURES, VALIDATION = 1000, 2000, 64
STEPS, BATCH, LR = 180, 32, 3e-4
SEEDS = (0, 1, 2)
RERANKED = 250
"""Sentences whose candidates ITM orders."""
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


def training_data(folder: Path) -> dict[str, Path]:
    """Captions as they came, and those that CapFilt kept; the last pictures of both are for validation."""
    told = captioned("train", 11, TRAIN_PICTURES)
    folder.mkdir(parents=True, exist_ok=True)
    with filtered(told) as house:
        kept = kept_rows(house, len(told))
    write_pictures(folder / "images", told)
    held = captioned("val", 11, VALIDATION, share=0.0)
    write_pictures(folder / "held", held)
    validation = [_row(f"held/{number:05d}.png", one, "val") for number, one in enumerate(held)]
    rows = [_row(f"images/{number:05d}.png", one, "train") for number, one in enumerate(told)]
    chosen = {"as they came": rows, "filtered": [row for row, good in zip(rows, kept, strict=True) if good]}
    files = {}
    for name, some in chosen.items():
        files[name] = folder / f"{name.replace(' ', '-')}.jsonl"
        files[name].write_text("".join(json.dumps(row) + "\n" for row in [*some, *validation]))
    return files


def _row(image: str, one: Captioned, split: str) -> dict[str, object]:
    return {"image": image, "captions": [one.text], "split": split}


def trained(data: Path, folder: Path, seed: int) -> Path:
    """What `STEPS` steps from the demo model lead to: the last model, be it the best so far or not."""
    out = folder / f"{data.stem}-{seed}"
    pairs = sum('"train"' in line for line in data.read_text().splitlines())
    training.run(
        TrainConfig(
            model="demo",
            data=data,
            images=data.parent,
            out=out,
            objectives=("itc", "itm"),
            epochs=max(1, round(STEPS / (pairs // BATCH))),
            batch_size=BATCH,
            lr=LR,
            seed=seed,
            device="cpu",
            eval_ks=(8,),
            eval_pictures=VALIDATION,
            eval_every=10_000,
            cache=folder / "cache",
        )
    )
    last = checkpoints.latest(out / "checkpoints")
    assert last is not None
    prefix = "network."
    weights = {name.removeprefix(prefix): w for name, w in last.weights().items() if name.startswith(prefix)}
    publish(DEMO_FOLDER, folder / f"{out.name}-last", weights, None)
    return folder / f"{out.name}-last"


def recall(model: Path) -> Figures:
    """R@1 of text to image on held-out pictures: by ITC, and by ITM + ITC for some of the sentences."""
    loaded = Blip2(model, device="cpu")
    scenes, sentences, relevant = held_out(1)
    words = texts(sentences, 1)
    patches, tokens = encode(loaded, scenes)
    itc = itc_scores(loaded, tokens, words)
    best = []
    for row in range(0, len(words), max(1, len(words) // RERANKED)):
        rows, logits = rerank(loaded, patches, words[row], itc[row])
        best.append(relevant[row, rows[int(np.argmax(logits[:, 1].numpy() + itc[row, rows]))]])
    first = relevant[np.arange(len(words)), itc.argmax(axis=1)]
    return {"itc_r1": float(first.mean()), "rerank_r1": float(np.mean(best))}


def main() -> None:
    """Train, measure, print a line for each run, then mean and spread."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capfilt_quality")
    parser.add_argument("--folder", type=Path, default=Path("build/capfilt"))
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    found: dict[str, list[Figures]] = {}
    for name, data in training_data(given.folder).items():
        for seed in SEEDS:
            figures = recall(trained(data, given.folder, seed))
            found.setdefault(name, []).append(figures)
            print(json.dumps({"captions": name, "seed": seed, **figures}), flush=True)
    for name, runs in found.items():
        for figure in runs[0]:
            values = [run[figure] for run in runs]
            print(f"{name}: {figure} {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
