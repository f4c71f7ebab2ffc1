"""The training pictures: scenes drawn once, kept as raw pixels and labels on disk."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.world.draw import draw, patch_labels
from demo.world.scene import Scene, Thing, relation_holds
from demo.world.splits import families, scenes
from demo.world.things import COLOURS, KINDS, RELATIONS

FAMILY_SIZE = 8
NEIGHBOUR_WIDTH = len(RELATIONS) * (len(KINDS) + len(COLOURS))


def scene_list(split: str, seed: int, num_families: int, num_random: int) -> list[Scene]:
    """Families first (eight neighbouring scenes each), then random scenes."""
    found = [scene for group in islice(families(split, seed, FAMILY_SIZE), num_families) for scene in group]
    return found + list(islice(scenes(split, seed), num_random))


def to_json(scene: Scene) -> str:
    """One line of a scene file."""
    return json.dumps(asdict(scene))


def from_json(line: str) -> Scene:
    """The scene of one line."""
    raw = json.loads(line)
    return Scene(raw["setting"], tuple(Thing(**thing) for thing in raw["things"]), raw["seed"])


def neighbours(scene: Scene) -> NDArray[np.float32]:
    """``[things, NEIGHBOUR_WIDTH]``: which kinds and colours lie left, right, above and below each thing."""
    out = np.zeros((len(scene.things), len(RELATIONS), len(KINDS) + len(COLOURS)), np.float32)
    for i, a in enumerate(scene.things):
        for j, b in enumerate(scene.things):
            for r, relation in enumerate(RELATIONS):
                if i != j and relation_holds(b, a, relation):  # b is `relation` a
                    out[i, r, KINDS.index(b.kind)] = 1
                    out[i, r, len(KINDS) + COLOURS.index(b.colour)] = 1
    return out.reshape(len(scene.things), -1)


def _render(job: tuple[str, int]) -> NDArray[np.uint8]:
    line, side = job
    return draw(from_json(line), side)


class Pictures:
    """Drawn scenes: ``pixels`` uint8 ``[N, S, S, 3]`` on disk, ``scenes`` in memory."""

    def __init__(self, folder: Path, side: int) -> None:
        self.folder, self.side = folder, side
        self.scenes = [from_json(line) for line in (folder / "scenes.jsonl").read_text().splitlines()]
        shape = (len(self.scenes), side, side, 3)
        self.pixels = np.memmap(folder / "pixels.u8", np.uint8, "r", shape=shape)

    def labels(self, index: int, grid: int) -> dict[str, NDArray[np.int64] | NDArray[np.float32]]:
        """What each patch of one picture shows, ``[grid, grid]`` each."""
        return patch_labels(self.scenes[index], grid)


def draw_pictures(folder: Path, found: list[Scene], side: int, processes: int = 2) -> Pictures:
    """Draw every scene once; a finished folder is reused."""
    done = folder / "done"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        lines = [to_json(scene) for scene in found]
        (folder / "scenes.jsonl").write_text("\n".join(lines))
        out = np.memmap(folder / "pixels.u8", np.uint8, "w+", shape=(len(found), side, side, 3))
        for index, picture in enumerate(_rendered(lines, side, processes)):
            out[index] = picture
        out.flush()
        done.touch()
    return Pictures(folder, side)


def _rendered(lines: list[str], side: int, processes: int) -> Iterator[NDArray[np.uint8]]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        yield from pool.imap(_render, ((line, side) for line in lines), chunksize=64)
