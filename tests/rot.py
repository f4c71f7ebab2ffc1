"""Rot: what disks, copies and people do to files. The mutations, and a process that searches between them.

``mutate(files, rng)`` damages one of some files and ``Mutation.undo`` brings it back; nothing there knows
what the files are. ``python -m tests.rot FOLDER COUNT SEED`` makes a small installation for each patch codec,
damages its segment, generation and codec files COUNT times, and asks it each time: the one that has been open
all along, and one that is opened anew. Its last line says how the answers compare with the right ones.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

Rng = np.random.Generator
Spoil = Callable[[bytearray, Rng], None]


def _flip(data: bytearray, rng: Rng) -> None:
    """One bit."""
    data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))


def _flip_late(data: bytearray, rng: Rng) -> None:
    """One bit behind the first quarter, where formats keep their data."""
    data[int(rng.integers(len(data) // 4, len(data)))] ^= 1 << int(rng.integers(8))


def _garble(data: bytearray, rng: Rng) -> None:
    """A run of other bytes."""
    start, length = int(rng.integers(len(data))), int(rng.integers(1, 600))
    data[start : start + length] = rng.bytes(len(data[start : start + length]))


def _blank(data: bytearray, rng: Rng) -> None:
    """A sector of zeros, as after a power cut."""
    start = int(rng.integers(len(data))) // 512 * 512
    data[start : start + 512] = bytes(len(data[start : start + 512]))


def _infinite(data: bytearray, rng: Rng) -> None:
    """fp16 infinities and NaNs."""
    start = int(rng.integers(len(data) // 4, len(data))) // 2 * 2
    for place in range(start, min(start + 64, len(data) - 1), 2):
        data[place : place + 2] = b"\xff\x7f" if rng.random() < 0.5 else b"\x00\x7c"


def _cut(data: bytearray, rng: Rng) -> None:
    """The end is missing."""
    del data[int(rng.integers(len(data))) :]


def _grow(data: bytearray, rng: Rng) -> None:
    """Something was appended."""
    data.extend(rng.bytes(int(rng.integers(1, 300))))


SPOILS: tuple[Spoil, ...] = (_flip, _flip_late, _flip_late, _garble, _blank, _infinite, _cut, _grow)


@dataclass
class Mutation:
    """What was done to which files, and what they held before."""

    what: str
    before: dict[Path, bytes]

    def undo(self) -> None:
        """Everything is as it was, but for the times of the files."""
        for path, data in self.before.items():
            path.write_bytes(data)


def mutate(files: Sequence[Path], rng: Rng) -> Mutation:
    """Spoil one of ``files`` in place, lose it, or swap it with another one."""
    path = files[int(rng.integers(len(files)))]
    choice = int(rng.integers(len(SPOILS) + 3))
    if choice < len(SPOILS):
        return _spoiled(path, SPOILS[choice], rng)
    if choice == len(SPOILS):
        before = {path: path.read_bytes()}
        path.unlink()
        return Mutation(f"lose {path.name}", before)
    others = [one for one in files if one.suffixes == path.suffixes and one != path]
    if not others:
        return _spoiled(path, _flip, rng)
    other = others[int(rng.integers(len(others)))]
    before = {one: one.read_bytes() for one in (path, other)}
    path.write_bytes(before[other])
    if choice == len(SPOILS) + 1:  # both ways; else the one twice
        other.write_bytes(before[path])
    return Mutation(f"swap {path.name} and {other.name}", before)


def _spoiled(path: Path, spoil: Spoil, rng: Rng) -> Mutation:
    """In place, as rot does it: the file keeps its inode, and whoever has it open sees it."""
    before = path.read_bytes()
    data = bytearray(before)
    spoil(data, rng)
    with path.open("r+b") as handle:
        handle.write(data)
        handle.truncate()
    return Mutation(f"{spoil.__name__} {path.name}", {path: before})


# --- a process that is asked while its files rot -----------------------------------------------------------


@dataclass
class Figures:
    """How answers compared with the right ones."""

    mutations: int = 0
    right: int = 0
    degraded: int = 0
    refused: int = 0
    silent: list[str] = field(default_factory=list)
    """Other answers that did not say so."""
    crashed: list[str] = field(default_factory=list)
    """Errors that are no sentence."""
    unhealed: list[str] = field(default_factory=list)
    """Answers that were not right again when the files were."""


def settings_for(folder: Path, codec: str) -> Any:
    """The toy in ``folder``. With ``int8`` nothing fits into memory, so that generations are mapped."""
    from tests.sightline.conftest import toy_settings

    empty = toy_settings(folder / "data")
    indexer = replace(empty.indexer, patch_codec=codec, batch_size=8, codec_sample=16)
    retriever = empty.retriever
    if codec == "int8" and hasattr(retriever, "index_memory_bytes"):
        retriever = replace(retriever, index_memory_bytes=0)
    return empty.model_copy(update={"indexer": indexer, "retriever": retriever})


def make(folder: Path, codec: str) -> None:
    """40 pictures in five segments, three of them folded."""
    from sightline.blip.toy import COLOURS
    from sightline.wiring import open_installation
    from tests.sightline.conftest import save

    rng, colours = np.random.default_rng(5), sorted(COLOURS)
    with open_installation(settings_for(folder, codec), inline=True) as services:
        services.collections.create("pictures")
        for part, images in (("old", 24), ("new", 16)):
            for number in range(images):
                save(
                    folder / part,
                    f"{part}{number}",
                    *(colours[i] for i in rng.integers(len(colours), size=4)),
                )
            job = services.indexer.index([str(folder / part)], "pictures")
            services.indexer.wait(job.id, timeout=60)
            if part == "old":
                services.builder.fold("pictures")
        services.builder.step()  # with a latent codec what came first is compressed now


def rot(folder: Path, codec: str, count: int, seed: int) -> Figures:
    """See the module."""
    from sightline.retriever.retriever import Retriever
    from sightline.searching.search import Search
    from sightline.wiring import open_installation

    settings, rng, figures, hours = settings_for(folder, codec), np.random.default_rng(seed), Figures(), [0.0]
    stored = [settings.segments_folder, settings.generations_folder]
    files = sorted(path for one in stored for path in one.rglob("*") if path.is_file())
    with open_installation(settings, inline=True) as here:
        retriever = Retriever(here.catalog, here.segments, here.indexes, lambda: hours[0])
        search = Search(replace(here.search_parts, retriever=retriever))
        right = answers(search.find)
        for _ in range(count):
            mutation = mutate(files, rng)
            _compare(figures, f"open: {mutation.what}", search.find, right)
            with open_installation(settings, inline=True, models=here.models, decoder=here.decoder) as fresh:
                _compare(figures, f"fresh: {mutation.what}", fresh.search.find, right)
            mutation.undo()
            figures.mutations += 1
            hours[0] += 3600  # what was found missing is looked for again
            if answers(search.find) != right:
                figures.unhealed.append(mutation.what)
    return figures


def _compare(figures: Figures, what: str, find: Callable[[Any], Any], right: list[Any]) -> None:
    from sightline.errors import SightlineError

    for request, expected in zip(requests(), right, strict=True):
        try:
            response = find(request)
        except SightlineError as error:
            figures.refused += 1
            if not str(error).endswith("."):
                figures.crashed.append(f"{what}: no sentence: {error}")
        except Exception:
            figures.crashed.append(f"{what}: {traceback.format_exc()}")
        else:
            if response.degraded:
                figures.degraded += 1
            elif shown(response) == expected:
                figures.right += 1
            else:
                figures.silent.append(what)


def requests() -> list[Any]:
    from sightline.records import SearchRequest

    both = SearchRequest("pictures", "red blue", limit=40)
    return [both, replace(both, text="green", rerank=False, limit=10)]


def answers(find: Callable[[Any], Any]) -> list[Any]:
    return [shown(find(request)) for request in requests()]


def shown(response: Any) -> list[tuple[Any, ...]]:
    """Everything of an answer that a rotten byte could change."""
    return [(hit.id, hit.rank, hit.score, hit.itc, hit.itm_logit, hit.caption) for hit in response.results]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    told = {}
    for codec in ("fp16", "int8", "latent"):
        make(Path(sys.argv[1]) / codec, codec)
        told[codec] = asdict(rot(Path(sys.argv[1]) / codec, codec, int(sys.argv[2]), int(sys.argv[3])))
    print(json.dumps(told))
