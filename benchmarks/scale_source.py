"""What the collections of scale benchmarks are made from: tokens of pictures, and captions as vectors.

Pictures are scenes of the demo world, or photos of a folder with ``captions.jsonl`` (one JSON object a line:
``image``, a path from there, and ``captions``, a list). The demo model encodes both, once: they are kept.
Shapes: P pictures · Q query tokens · D joint dim · M sample texts · T queries.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np

from sightline.store.sample_texts import CAPTIONS, SampleTexts
from sightline.types import RGB, Half, Vector

if TYPE_CHECKING:
    from sightline.blip.blip2 import Blip2

QUERIES: Final = 200
"""Captions that are asked, which nothing learns from; at most a quarter of all."""
SCENES: Final = 1500
_SIDE: Final = 160
"""Of a drawn scene, in pixels: the demo model reads 128."""
_AT_ONCE: Final = 32
_CAPTIONS: Final = "captions.jsonl"


@dataclass(frozen=True)
class Source:
    """Tokens fp16 ``[P,Q,D]``, and of distinct captions unit vectors fp32: samples ``[M,D]``, queries
    ``[T,D]``.
    """

    id: str
    tokens: Half
    samples: Vector
    queries: Vector

    def texts(self, most: int | None = None) -> SampleTexts:
        """The samples (at most so many), as an index learns from them."""
        vectors = self.samples[:most]
        return SampleTexts(f"{self.id}-{len(vectors)}", vectors, np.full(len(vectors), CAPTIONS, np.int8))


@dataclass(frozen=True)
class Pictured:
    """A picture and sentences that are true of it."""

    picture: RGB
    captions: Sequence[str]


def scenes(count: int, seed: int = 0) -> Iterator[Pictured]:
    """Scenes of the demo world: three sentences each."""
    from demo.world.draw import draw
    from demo.world.sample import full_caption, random_scene, random_sentence
    from demo.world.sentences import WORDINGS, render

    rng = Random(f"scale {seed}")
    for _ in range(count):
        scene = random_scene(rng)
        said = [full_caption(scene, rng), *(random_sentence(rng, scene) for _ in range(2))]
        words = [render(sentence, rng.randrange(WORDINGS)) for sentence in said]
        yield Pictured(draw(scene, _SIDE, supersample=1), words)


def photos(folders: Sequence[Path]) -> Iterator[Pictured]:
    """The photos of folders, in the order of their lists."""
    from PIL import Image

    for folder in folders:
        for line in (folder / _CAPTIONS).read_text().splitlines():
            told = json.loads(line)
            with Image.open(folder / told["image"]) as image:
                yield Pictured(np.asarray(image.convert("RGB")), told["captions"])


def photo_folders(root: Path) -> list[Path]:
    """``root`` itself or those below it that hold a list of captions."""
    return [path.parent for path in sorted([*root.glob(_CAPTIONS), *root.glob(f"*/{_CAPTIONS}")])]


def source(folder: Path, root: Path | None = None, count: int = SCENES, queries: int = QUERIES) -> Source:
    """Photos below ``root`` (None: that many scenes), encoded; kept in ``folder`` and read from there.

    Raises:
        FileNotFoundError: no photos with captions below ``root``.
    """
    from benchmarks.latent_pairs import demo_model

    folders = [] if root is None else photo_folders(root)
    if root is not None and not folders:
        raise FileNotFoundError(f"Neither {root} nor a folder in it holds {_CAPTIONS}.")
    said = [f"scenes {count}", *((one / _CAPTIONS).read_text() for one in folders)][bool(folders) :]
    model = demo_model()
    told = json.dumps([2, model.fingerprint, queries, _SIDE, said])
    name = hashlib.sha256(told.encode()).hexdigest()[:12]
    path = folder / f"source-{name}.npz"
    if not path.exists():
        _write(path, *_encoded(model, photos(folders) if folders else scenes(count), queries))
    with np.load(path) as kept:
        return Source(name, kept["tokens"], kept["samples"], kept["queries"])


def _encoded(model: Blip2, pictured: Iterator[Pictured], queries: int) -> tuple[Half, Vector, Vector]:
    tokens: list[Half] = []
    captions: dict[str, None] = {}
    while some := list(islice(pictured, _AT_ONCE)):
        pixels = model.preprocess([one.picture for one in some])
        found = model.encode_image(model.encode_patches(pixels))
        tokens.append(found.float().numpy().astype(np.float16))
        captions |= {words: None for one in some for words in one.captions}
    words = list(captions)
    Random("order of captions").shuffle(words)
    parts = [model.encode_text(words[start : start + 256]) for start in range(0, len(words), 256)]
    vectors = np.concatenate([part.float().numpy() for part in parts])
    queries = min(queries, len(words) // 4)
    return np.concatenate(tokens), vectors[queries:], vectors[:queries]


def _write(path: Path, tokens: Half, samples: Vector, queries: Vector) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    np.savez(aside, tokens=tokens, samples=samples, queries=queries)
    aside.replace(path)
