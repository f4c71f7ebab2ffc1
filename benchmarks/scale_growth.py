"""One collection that grows from a thousand images to a million: what a query, a step and a disk cost.

``python -m benchmarks.scale_growth [--images N] [--photos FOLDER] [--recipe easy] [--kind KIND]`` writes
``build/scale-growth.csv`` and ``build/scale-growth.png``. Below `APPROXIMATE_FROM` images the index is flat;
from there on each is grown out of the one before, and built anew where that one says that it should be.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from benchmarks.scale import KIND, ROOT, Size, progress
from benchmarks.scale_asking import Plan, ask_apart
from benchmarks.scale_collection import Built, ScaleCollection, fill
from benchmarks.scale_source import SCENES, Source
from benchmarks.scale_tokens import BLOCK, RECIPES, Tokens
from sightline.store.records import FLAT

STEPS: Final = (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
APPROXIMATE_FROM: Final = 20_000
OUT: Final = Path("build")
_ASK_S: Final = 1800.0


@dataclass(frozen=True)
class Step:
    """What the collection was like at so many images. Bytes are on disk; milliseconds are of CPU.

    ``how``: "anew", "grown", or "retrained", which was grown, and built anew for the reason that this gave.
    """

    images: int
    kind: str
    how: str
    recall100: float
    p50_ms: float
    p95_ms: float
    first_s: float
    rss_bytes: int
    build_s: float
    build_peak_bytes: int
    index_bytes: int
    segment_bytes: int


@dataclass(frozen=True)
class Grown:
    """What serves after a step, and seconds of all that was built for it."""

    serving: Built
    how: str
    seconds: float


def measure(
    size: Size, tokens: Tokens, kind: str, steps: Sequence[int], approximate_from: int = APPROXIMATE_FROM
) -> list[Step]:
    """Step after step; tokens are made as they are needed."""
    found: list[Step] = []
    serving: Built | None = None
    for images in steps:
        collection = fill(size.root, tokens, images, lambda done: progress(tokens.recipe, done, steps[-1]))
        wanted = kind if images >= approximate_from else FLAT
        grown = grow(collection, images, wanted, tokens.source, serving)
        serving = grown.serving
        found.append(step(collection, grown, size.rounds))
        print(f"  {found[-1]}", flush=True)
    return found


def grow(collection: ScaleCollection, images: int, kind: str, source: Source, serving: Built | None) -> Grown:
    """The next generation out of ``serving``, and anew where that says so."""
    before = serving if serving is not None and serving.kind == kind and kind != FLAT else None
    built = collection.build(kind, images, source, before)
    if before is None:
        return Grown(built, "anew", built.seconds)
    if not built.retrain:
        return Grown(built, "grown", built.seconds)
    anew = collection.build(kind, images, source)
    return Grown(anew, "retrained", built.seconds + anew.seconds)


def step(collection: ScaleCollection, grown: Grown, rounds: int) -> Step:
    """Ask in a fresh process what serves now."""
    built = grown.serving
    plan = Plan(
        str(collection.folder), built.kind, built.images, built.texts, rounds, some=False,
        grown_from=built.grown_from,
    )  # fmt: skip
    asked = ask_apart(plan, _ASK_S)
    segments = sum(segment.bytes for segment in collection.segments(built.images))
    return Step(
        built.images, built.kind, grown.how, asked.recall100, asked.p50_ms, asked.p95_ms, asked.first_s,
        asked.rss_bytes, grown.seconds, built.peak_bytes, built.bytes, segments,
    )  # fmt: skip


def write_csv(steps: Sequence[Step], path: Path) -> Path:
    """A line a step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Step)])
        writer.writeheader()
        writer.writerows(asdict(one) for one in steps)
    return path


_CURVES: Final[Sequence[tuple[str, Sequence[tuple[str, Callable[[Step], float]]]]]] = (
    ("ms of CPU a query", [("p50", lambda one: one.p50_ms), ("p95", lambda one: one.p95_ms)]),
    ("seconds to build a step", [("build", lambda one: one.build_s)]),
    (
        "MB beyond the page cache",
        [
            ("a searching process", lambda one: one.rss_bytes / 1e6),
            ("more, while building", lambda one: one.build_peak_bytes / 1e6),
        ],
    ),
    (
        "MB on disk",
        [
            ("index", lambda one: one.index_bytes / 1e6),
            ("segments", lambda one: one.segment_bytes / 1e6),
        ],
    ),
)


def draw(steps: Sequence[Step], path: Path) -> Path:
    """Four plots over images, all axes logarithmic; a line where the first approximate index is."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    for axes, (what, lines) in zip(figure.subplots(2, 2).flat, _CURVES, strict=True):
        axes.set(xlabel="images", ylabel=what, xscale="log", yscale="log")
        for name, value in lines:
            axes.plot([one.images for one in steps], [value(one) for one in steps], marker="o", label=name)
        for first in [one.images for one in steps if one.kind != FLAT][:1]:
            axes.axvline(first, color="grey", linestyle=":", label="approximate from here")
        axes.grid(alpha=0.3)
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path


def markdown(steps: Sequence[Step]) -> str:
    """A table."""
    lines = [
        "| images | index | recall@100 | p50 ms | p95 ms | first answer s | memory MB | build s | index MB "
        "| segments MB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.images:,} | {one.kind}, {one.how} | {one.recall100:.4f} | {one.p50_ms:.2f} "
        f"| {one.p95_ms:.2f} | {one.first_s:.2f} | {one.rss_bytes / 1e6:,.0f} | {one.build_s:.1f} "
        f"| {one.index_bytes / 1e6:,.0f} | {one.segment_bytes / 1e6:,.0f} |"
        for one in steps
    ]
    return "\n".join(lines) + "\n"


def steps_to(images: int) -> list[int]:
    """`STEPS` up to so many, and so many."""
    return [*(one for one in STEPS if one < images), images]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_growth")
    parser.add_argument("--images", type=int, default=STEPS[-1], help=f"a multiple of {BLOCK}")
    parser.add_argument("--photos", type=Path, help="a folder of photos with captions.jsonl, or of such ones")
    parser.add_argument("--scenes", type=int, default=SCENES, help="how many are drawn where there are none")
    parser.add_argument("--recipe", default=RECIPES[0], choices=RECIPES)
    parser.add_argument("--kind", default=KIND)
    parser.add_argument("--approximate-from", type=int, default=APPROXIMATE_FROM, help="so many images")
    parser.add_argument("--folder", type=Path, default=ROOT, help="where tokens and indexes are kept")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of the table and the plot")
    given = parser.parse_args(arguments)
    size = Size(given.images, given.scenes, 1, given.photos, given.folder)
    tokens = Tokens(size.source(), given.recipe)
    found = measure(size, tokens, given.kind, steps_to(given.images), given.approximate_from)
    write_csv(found, given.out / "scale-growth.csv")
    draw(found, given.out / "scale-growth.png")
    print(markdown(found))


if __name__ == "__main__":
    main()
