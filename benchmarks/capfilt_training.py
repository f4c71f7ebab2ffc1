"""Whether training on what CapFilt kept beats training on captions as they came.

``python -m benchmarks.capfilt_training`` trains from the demo model on 2,000 pictures, of which 30 % have
wrong captions, and on what CapFilt kept of them: the same number of steps, three seeds each. It prints R@1 of
both, on held-out pictures: minutes for each run.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

import numpy as np

from benchmarks.capfilt_quality import Figures, filtered, kept_rows, write_pictures
from benchmarks.quality import encode, itc_scores, rerank
from demo.world.benchmark import held_out, texts
from demo.world.corruption import Captioned, captioned
from sightline import training
from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.training import checkpoints
from sightline.training.config import TrainConfig
from sightline.training.weights import publish

TRAIN_PICTURES, VALIDATION = 2000, 64
STEPS, BATCH, LR = 180, 32, 1e-3
SEEDS = (0, 1, 2)
RERANKED = 250
"""Sentences whose candidates ITM orders."""


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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capfilt_training")
    parser.add_argument("--folder", type=Path, default=Path("build/capfilt"))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    found: dict[str, list[Figures]] = {}
    files = training_data(given.folder)
    for seed in given.seeds:
        for name, data in files.items():
            figures = recall(trained(data, given.folder, seed))
            found.setdefault(name, []).append(figures)
            print(json.dumps({"captions": name, "seed": seed, **figures}), flush=True)
    for name, runs in found.items():
        for figure in runs[0]:
            values = [run[figure] for run in runs]
            print(f"{name}: {figure} {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
