"""A search among 200,000 images: what an approximate index finds and costs, beside the flat scan.

``python -m benchmarks.scale [--images N] [--photos FOLDER] [--recipes easy,hard] [--kind KIND]``, without a
limit of time. Tokens (3.3 GB a collection) and indexes are kept in ``build/scale``, so that another run,
``make bench`` too, goes on from there; an index is built anew when the code in ``sightline/store`` changed.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.measuring import Budget, Row, Section
from benchmarks.scale_asking import Asked, Plan, ask_apart
from benchmarks.scale_collection import Built, ScaleCollection, fill
from benchmarks.scale_source import SCENES, Source, source
from benchmarks.scale_tokens import BLOCK, RECIPES, Recipe, Tokens, structure
from sightline.store.records import FLAT

ROOT: Final = Path("build/scale")
KIND: Final = "ivf-sq8"
"""What ``auto`` chooses at this size."""
IMAGES: Final = 200_000
_SMALL_IMAGES, _SMALL_SCENES = 2 * BLOCK, 64
_DISK: Final = 36_000
"""Bytes an image: tokens, once more in the flat index, and the index itself."""
_FILL_S, _BUILD_S, _FLAT_S, _ASK_S = 0.3e-3, 1.5e-3, 0.04e-3, 0.2e-3
"""Seconds an image on 2 cores: making tokens; building; the flat index; asking."""
_ASK_APART_S: Final = 3600.0


@dataclass(frozen=True)
class Size:
    """Of a run."""

    images: int = IMAGES
    scenes: int = SCENES
    rounds: int = 2
    photos: Path | None = None
    root: Path = ROOT

    def source(self) -> Source:
        """What its collections are made from."""
        return source(self.root, self.photos, self.scenes)


def run(full: bool) -> Section:
    """The easy collection; the hard one as far as there is time."""
    section = Section("A search at scale")
    size = Size() if full else Size(_SMALL_IMAGES, _SMALL_SCENES, 1)
    made = size.source()
    for recipe in RECIPES:
        tokens = Tokens(made, recipe)
        why_not = hindrance(tokens, size) if full else ""
        if why_not:
            section.skip(f"the {recipe} tokens: {why_not}.")
        else:
            add(section, tokens, size, KIND, flat=recipe == "easy")
    return section


def hindrance(tokens: Tokens, size: Size) -> str:
    """Why a collection cannot be made and measured now; empty when it can."""
    collection = ScaleCollection(size.root / tokens.id)
    missing = max(0, size.images - collection.images)
    needed = missing * _FILL_S + size.images * (_ASK_S + _FLAT_S * (tokens.recipe == "easy"))
    if not collection.built(KIND, size.images, tokens.source.texts().id):
        needed += size.images * _BUILD_S
    if not Budget.given().enough_for(needed):
        return f"they need about {needed:.0f} s more; python -m benchmarks.scale makes them and keeps them"
    size.root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(size.root).free
    if free < missing * _DISK:
        return f"they need {missing * _DISK / 1e9:.0f} GB of disk, and {free / 1e9:.0f} are free"
    return ""


def add(section: Section, tokens: Tokens, size: Size, kind: str, *, flat: bool) -> None:
    """Figures, rows and notes of one collection; beside the flat scan where ``flat``."""
    made = tokens.source
    collection = fill(size.root, tokens, size.images, lambda done: progress(tokens.recipe, done, size.images))
    built = collection.build(kind, size.images, made)
    scan = collection.build(FLAT, size.images, made) if flat else None
    plan = Plan(str(collection.folder), kind, size.images, made.texts().id, size.rounds, flat)
    asked = ask_apart(plan, min(_ASK_APART_S, Budget.given().left()))
    if scan is not None:
        collection.remove(scan)
    prefix = f"scale_{label(size.images)}" + ("" if tokens.recipe == "easy" else "_hard")
    section.figures |= figures(prefix, built, asked)
    if tokens.recipe == "easy":
        section.figures["scale_filter_ratio"] = asked.filter_ratio
        section.figures["scale_filter_recall"] = min(asked.recall.values())
    if flat:
        section.figures[f"{prefix}_vs_flat"] = asked.flat_ms / asked.beside_flat_ms
    section.rows += rows(tokens.recipe, built, asked)
    section.notes.append(f"{tokens.recipe}: {structure(tokens.block(0), made.queries[:150])}.")


def figures(prefix: str, built: Built, asked: Asked) -> dict[str, float]:
    """Those of one collection."""
    return {
        f"{prefix}_recall100": asked.recall100,
        f"{prefix}_recall10": asked.recall10,
        f"{prefix}_p50_ms": asked.p50_ms,
        f"{prefix}_p95_ms": asked.p95_ms,
        f"{prefix}_rss_gb": asked.rss_bytes / 1e9,
        f"{prefix}_first_s": asked.first_s,
        f"{prefix}_build_s": built.seconds,
        f"{prefix}_bytes_an_image": built.bytes / built.images,
    }


def rows(recipe: Recipe, built: Built, asked: Asked) -> list[Row]:
    """One collection's: all images, some of them, and beside the flat scan where there is one."""
    what = f"{recipe}, {built.images:,} images, {built.kind}"
    found = [
        Row(f"{what}: recall@100, @10", f"{asked.recall100:.4f}, {asked.recall10:.4f}"),
        Row(f"{what}: ms of CPU a query, p50, p95", f"{asked.p50_ms:.2f}, {asked.p95_ms:.2f}"),
        Row(f"{what}: ms by the clock, p50; in the first round", wall(asked)),
    ]
    for name, ms in asked.ms.items():
        told = f"{ms:.2f} ms, recall@100 {asked.recall[name]:.4f}"
        found.append(Row(f"{recipe}, {allowed(name)}", told, ratio=f"{ms / asked.ms['all']:.2f}"))
    if asked.flat_ms:
        ratio = f"{asked.flat_ms / asked.beside_flat_ms:.1f}"
        sides = f"{asked.beside_flat_ms:.2f} ms", f"{asked.flat_ms:.1f} ms"
        found.append(Row(f"{recipe}, beside the flat scan", *sides, ratio))
    return found


def wall(asked: Asked) -> str:
    """Times by the clock."""
    return f"{asked.wall_p50_ms:.2f}; {asked.first_round_p50_ms:.2f} of CPU"


def allowed(name: str) -> str:
    """In words, which images are searched: ``all``, a share, or ``without`` a share."""
    if name == "all":
        return "all images, by the index's search alone"
    if name.startswith("without "):
        return f"{float(name.removeprefix('without ')):.0%} deleted"
    return f"a filter that {float(name):.0%} pass"


def label(images: int) -> str:
    """As figures name a size: 200k, 1m."""
    return f"{images // 1_000_000}m" if images % 1_000_000 == 0 else f"{images // 1000}k"


def progress(what: str, done: int, of: int) -> None:
    """A line each twentieth."""
    step = max(BLOCK, of // 20 // BLOCK * BLOCK)
    if done % step == 0 or done >= of:
        print(f"  {what}: tokens of {done:,} of {of:,} images", flush=True)


def recipes(said: str) -> Sequence[Recipe]:
    """Of a list with commas."""
    return [one for one in RECIPES if one in said.split(",")]


def measure(size: Size, chosen: Sequence[Recipe], kind: str) -> Section:
    """As `run`, of anything, without a limit."""
    section = Section(f"A search among {size.images:,} images")
    made = size.source()
    for recipe in chosen:
        add(section, Tokens(made, recipe), size, kind, flat=recipe == "easy")
    return section


def main() -> None:
    """Command line."""
    from benchmarks.run import markdown

    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"a multiple of {BLOCK}")
    parser.add_argument("--photos", type=Path, help="a folder of photos with captions.jsonl, or of such ones")
    parser.add_argument("--scenes", type=int, default=SCENES, help="how many are drawn where there are none")
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--kind", default=KIND)
    given = parser.parse_args()
    size = Size(given.images, given.scenes, photos=given.photos)
    print(markdown(measure(size, recipes(given.recipes), given.kind)), flush=True)


if __name__ == "__main__":
    main()
