"""A search among a million images on this machine, both collections: ``make bench-scale``.

``python -m benchmarks.scale_million [--images N] [--photos FOLDER] [--kind KIND] [--results FILE]`` writes
``build/scale.json`` after each collection and prints a table. It needs 17 GB of disk for each collection in
``build/scale`` and, on 2 cores, about an hour; when it is interrupted, it goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.goals import MILLION_GOALS, as_json, judge, table
from benchmarks.machine import machine, these_warnings
from benchmarks.measuring import Section
from benchmarks.scale import KIND, ROOT, Size, add, recipes
from benchmarks.scale_source import SCENES
from benchmarks.scale_tokens import BLOCK, RECIPES, Recipe, Tokens

IMAGES: Final = 1_000_000
OUT: Final = Path("build/scale.json")


def measure(size: Size, chosen: Sequence[Recipe], kind: str, outs: Sequence[Path]) -> Section:
    """Collection after collection; what was measured by then is in each of ``outs`` after every one."""
    section = Section(f"A search among {size.images:,} images")
    made = size.source()
    what = machine()
    for recipe in chosen:
        add(section, Tokens(made, recipe), size, kind, flat=False)
        for out in outs:
            write(section, what, size, out)
    return section


def write(section: Section, what: dict[str, str], size: Size, out: Path) -> None:
    """All of it, in one step."""
    from benchmarks.run import as_json as section_json

    told = {
        **section.figures,
        "goals": as_json(judge(section.figures, what["goals"], MILLION_GOALS)),
        "images": size.images,
        "pictures": str(size.photos.name) if size.photos else f"{size.scenes} scenes of the demo world",
        "machine": what,
        "warnings": these_warnings(),
        "date": time.strftime("%Y-%m-%d"),
        "section": section_json(section),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f"{out.name}.{os.getpid()}")
    aside.write_text(json.dumps(told, indent=2) + "\n")
    aside.replace(out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    from benchmarks.run import markdown

    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_million")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"a multiple of {BLOCK}")
    parser.add_argument("--photos", type=Path, help="a folder of photos with captions.jsonl, or of such ones")
    parser.add_argument("--scenes", type=int, default=SCENES, help="how many are drawn where there are none")
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--kind", default=KIND)
    parser.add_argument("--folder", type=Path, default=ROOT, help="where tokens and indexes are kept")
    parser.add_argument("--results", type=Path, help="another file for the results, to be committed")
    given = parser.parse_args(arguments)
    size = Size(given.images, given.scenes, photos=given.photos, root=given.folder)
    outs = [OUT, *([given.results] if given.results else [])]
    section = measure(size, recipes(given.recipes), given.kind, outs)
    print(markdown(section))
    what = machine()
    print(table(judge(section.figures, what["goals"], MILLION_GOALS), what["class"]))
    print(f"{len(section.figures)} figures in {OUT}")


if __name__ == "__main__":
    main()
