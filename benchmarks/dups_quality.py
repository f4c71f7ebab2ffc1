"""How well near duplicates are told from pictures that only look alike: copies against burst neighbours.

``python -m benchmarks.dups_quality --photos DIR`` (or SIGHTLINE_PHOTOS) takes photos, else pictures of the
demo world; ``dup_photos`` says which. The whole way is measured: hashes propose, the comparison decides,
groups are made. `benchmarks.dups_pictures` says what a copy and what a burst neighbour is. Pairs that share
a group are right when both are copies (or the original) of one picture; a copy is found when it shares a
group with its original. ``--fit`` prints the weights that the comparison would have by these pictures.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.dups_pictures import COPIES, NEIGHBOURS, copy_of, neighbour_of
from demo.world.benchmark import held_out
from demo.world.draw import draw
from sightline.imaging import same_picture
from sightline.imaging.decoding import make_thumbnail
from sightline.imaging.picture_hash import BYTES, VIEWS, picture_hash
from sightline.imaging.thumbnails import read_thumbnail
from sightline.searching.duplicate_groups import groups_of
from sightline.searching.hash_neighbours import neighbours
from sightline.store.duplicate_records import Alike, Member

DUPS_GOALS = {"dup_precision": (0.99, 1.0), "dup_recall": (0.95, 1.0)}
SEED = 7
PICTURES = 24
SIDE = 384


@dataclass(frozen=True)
class Shown:
    """One picture of the test: which original it is of, and which picture it is (a neighbour is its own)."""

    original: int
    picture: int
    how: str
    size: tuple[int, int]
    thumbnail: bytes


def photos(folder: Path | None, count: int, seed: int = SEED) -> list[Image.Image]:
    """``count`` photos below a folder, or pictures of the demo world."""
    if folder is None:
        scenes = Random(seed).sample(held_out(1)[0], count)
        return [Image.fromarray(np.asarray(draw(scene, SIDE, supersample=2))) for scene in scenes]
    paths = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
    )
    return [Image.open(path).convert("RGB") for path in Random(seed).sample(paths, min(count, len(paths)))]


def shown(pictures: Sequence[Image.Image], seed: int = SEED) -> list[Shown]:
    """Each picture, a copy of each kind, and a burst neighbour of each kind."""
    random, found = Random(seed), list[Shown]()

    def add(original: int, picture: int, how: str, data: bytes) -> None:
        opened = Image.open(BytesIO(data)).convert("RGB")
        found.append(Shown(original, picture, how, opened.size, make_thumbnail(opened, SIDE)))

    for number, picture in enumerate(pictures):
        file = BytesIO()
        picture.save(file, "JPEG", quality=92)
        add(number, number, "original", file.getvalue())
        for how in COPIES:
            add(number, number, how, copy_of(picture, how, random))
        other = pictures[(number + 1) % len(pictures)]
        for place, how in enumerate(NEIGHBOURS, 1):
            near = neighbour_of(picture, how, random, other)
            add(number, number + place * len(pictures), how, near)
    return found


def proposed(given: Sequence[Shown]) -> list[tuple[int, int]]:
    """What hashes propose."""
    greys = [read_thumbnail(one.thumbnail).convert("L") for one in given]
    joined = b"".join(picture_hash(grey) for grey in greys)
    hashes: NDArray[np.uint8] = np.frombuffer(joined, np.uint8).reshape(-1, VIEWS, BYTES)
    rows, others, _ = neighbours(hashes, hashes)
    pairs = zip(rows.tolist(), others.tolist(), strict=True)
    return sorted({(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]})


def dup_figures(folder: Path | None, count: int = PICTURES, seed: int = SEED) -> dict[str, float]:
    """Precision of pairs in groups, recall of copies, the same of what hashes propose; photos or not."""
    given = shown(photos(folder, count, seed), seed)
    sketches = [same_picture.sketch(read_thumbnail(one.thumbnail)) for one in given]
    candidates = proposed(given)
    pairs = [
        (one, other) for one, other in candidates if same_picture.is_same(sketches[one], sketches[other])
    ]
    members = [
        Member(row, str(row), str(row), *one.size, len(one.thumbnail)) for row, one in enumerate(given)
    ]
    groups = groups_of(Alike(members, [(str(one), str(other)) for one, other in pairs]))
    found = {
        pair for group in groups for pair in combinations(sorted(image.key for image in group.images), 2)
    }
    true = {
        pair
        for pair in combinations(range(len(given)), 2)
        if given[pair[0]].picture == given[pair[1]].picture
    }
    copies = {pair for pair in true if given[pair[0]].how == "original"}
    return {
        "dup_precision": len(found & true) / max(len(found), 1),
        "dup_recall": len(found & copies) / len(copies),
        "dup_pair_recall": len(found & true) / len(true),
        "dup_proposed": len(copies & set(candidates)) / len(copies),
        "dup_hash_precision": len(true & set(candidates)) / max(len(candidates), 1),
        "dup_photos": float(folder is not None),
    }


def fitted(given: Sequence[Shown]) -> NDArray[np.float64]:
    """Weights of a logistic model, by Newton's method: copies against burst neighbours of their originals."""
    sketches = [same_picture.sketch(read_thumbnail(one.thumbnail)) for one in given]
    features, truth = [], []
    for one, other in combinations(range(len(given)), 2):
        if given[one].original == given[other].original and given[one].how in ("original", *COPIES[:2]):
            seen = same_picture.likeness(sketches[one], sketches[other])
            if seen is not None and np.isfinite(seen.log_odds()):
                features.append(seen.features())
                truth.append(given[one].picture == given[other].picture)
    table, answers = np.array(features), np.array(truth, float)
    mean, spread = table.mean(axis=0), table.std(axis=0)
    inputs = np.c_[(table - mean) / spread, np.ones(len(table))]
    weights = np.zeros(inputs.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (chance - answers) + 0.1 * weights
        curve = (inputs.T * (chance * (1 - chance))) @ inputs + 0.1 * np.eye(len(weights))
        weights -= np.linalg.solve(curve, slope)
    plain = weights[:-1] / spread
    return np.r_[plain, weights[-1] - plain @ mean]


def photo_folder() -> Path | None:
    """What SIGHTLINE_PHOTOS names."""
    named = os.environ.get("SIGHTLINE_PHOTOS", "").strip()
    return Path(named) if named else None


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dups_quality")
    parser.add_argument("--photos", type=Path, default=photo_folder(), help="a folder of photos")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--fit", action="store_true")
    given = parser.parse_args()
    if given.fit:
        pictures = shown(photos(given.photos, given.pictures, given.seed), given.seed)
        print(fitted(pictures).round(3).tolist())
        return
    print(json.dumps(dup_figures(given.photos, given.pictures, given.seed), indent=2))


if __name__ == "__main__":
    main()
